import importlib
import importlib.metadata
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor.engines import GPU_ENGINES
from compressor.errors import MissingExtra, ModelError
from compressor.tensorrt.module import RELEASES, Kit, check_device, cuda_build, make, open_kit

from .fakes import FakeCuda


def raising(error):
    def importer(name):
        raise error

    return importer


def test_a_package_that_is_not_there_is_said_with_the_install_command():
    absent = ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt")
    with pytest.raises(MissingExtra, match=r"not installed.*pip install 'tensorrt>=10.12,<12'"):
        open_kit("tensorrt", FakeCuda(), raising(absent))


def test_a_missing_library_behind_the_binding_is_another_error():
    missing = ImportError("libnvinfer.so.11: cannot open shared object file: No such file")
    with pytest.raises(MissingExtra, match=r"is installed, and a library .*\(libnvinfer\.so\.11"):
        open_kit("tensorrt", FakeCuda(), raising(missing))


def test_a_binding_without_its_other_half_is_no_missing_package():
    missing = ModuleNotFoundError("No module named 'tensorrt_libs'", name="tensorrt_libs")
    with pytest.raises(MissingExtra, match="is installed, and a library .*tensorrt_libs"):
        open_kit("tensorrt", FakeCuda(), raising(missing))


def test_an_unsupported_release_is_refused_with_what_it_lacks():
    old = SimpleNamespace(__version__="12.0.0")
    with pytest.raises(MissingExtra, match=r"tensorrt 12\.0\.0 has no ILogger, .*10\.12 to 11\.x"):
        open_kit("tensorrt", FakeCuda(), {"tensorrt": old}.__getitem__)


def test_a_folder_of_the_modules_name_is_not_taken_for_it():
    folder = SimpleNamespace()
    with pytest.raises(MissingExtra, match="of no version has no ILogger, __version__"):
        open_kit("tensorrt", FakeCuda(), {"tensorrt": folder}.__getitem__)


def test_no_device_is_said_before_anything_of_the_runtime_is_made():
    with pytest.raises(ModelError, match="has none that torch can use"):
        check_device(Kit("tensorrt", SimpleNamespace(), FakeCuda(available=False)))


def test_a_null_builder_is_said_in_words_and_another_type_error_stays_ours():
    def null(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    kit = Kit("tensorrt", SimpleNamespace(__version__="11.4"), FakeCuda())
    with pytest.raises(ModelError, match="driver is new enough"):
        make(null, None, kit)
    with pytest.raises(TypeError, match="argument"):
        make(lambda: None, None, kit)


def test_the_cuda_build_is_that_of_the_installed_binding(monkeypatch):
    def version(name):
        if name == "tensorrt_cu12_bindings":
            return "10.16.1.11"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert cuda_build("tensorrt") == 12
    assert cuda_build("tensorrt-rtx") is None


@pytest.mark.engines
def test_the_installed_rtx_opens():
    kit = open_kit("tensorrt-rtx", FakeCuda())
    assert kit.version == importlib.metadata.version("tensorrt-rtx")
    assert kit.trt is importlib.import_module("tensorrt_rtx")
    assert cuda_build("tensorrt-rtx") == 13


def test_the_install_command_names_the_releases_of_the_packages_extras():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {name: [release] for name, release in RELEASES.items()} == {
        name: extras[name] for name in GPU_ENGINES
    }

import importlib
import subprocess
import sys

import pytest

import compressor

HEAVY = {
    *("torch", "torchvision", "onnx", "onnxruntime", "sklearn", "accelerate", "numpy"),
    *("pydantic", "rich", "jinja2", "PIL", "scipy"),
}


def loaded_by(code):
    """Top-level modules that a fresh interpreter has loaded after ``code``."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import compressor",
        "from compressor.cli import main\nmain(['--help'], standalone_mode=False)",
        "from compressor.cli import main\nmain(['run', '--help'], standalone_mode=False)",
    ],
)
def test_neither_the_package_nor_help_loads_a_heavy_library(code):
    assert not loaded_by(code) & HEAVY


def test_help_loads_no_more_modules_than_it_needs():
    """What takes time before help is shown is loading: 170 modules now, PyTorch alone has 1,200."""
    code = "from compressor.cli import main\nmain(['--help'], standalone_mode=False)"
    script = f"import sys\n{code}\nprint(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout.splitlines()[-1]) < 250


@pytest.mark.parametrize("name", compressor.__all__)
def test_every_public_name_is_that_of_its_home(name):
    home = importlib.import_module(compressor._HOMES[name])
    assert getattr(compressor, name) is getattr(home, name)


def test_public_names_are_listed_once_and_sorted():
    assert sorted(set(compressor.__all__)) == compressor.__all__
    assert set(compressor._HOMES) == set(compressor.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'prune'"):
        _ = compressor.prune

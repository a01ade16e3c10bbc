import pytest

from compressor.errors import ModelError
from compressor.tensorrt.cuda import Gpu
from compressor.tensorrt.load import load_plan
from compressor.tensorrt.module import Kit

from .fakes import FakeCuda, Runtime, fake_module


class NoRuntime:
    """Stands for a module in which touching the runtime would crash the process."""

    __version__ = "10.16.1.11"

    def __getattr__(self, name):
        raise AssertionError(f"{name} was touched")


def test_a_plan_that_fits_is_opened(plan, kit, engine):
    opened, sidecar = load_plan(kit, plan)
    assert opened.engine is engine
    assert isinstance(opened.runtime, Runtime)
    assert sidecar.onnx_precisions == {"fp32": 3}


def test_without_a_device_nothing_of_the_runtime_is_touched(plan):
    with pytest.raises(ModelError, match="needs a CUDA device"):
        load_plan(Kit("tensorrt", NoRuntime(), FakeCuda(available=False)), plan)


def test_the_sidecar_is_compared_before_anything_of_the_runtime_is_touched(plan):
    other = FakeCuda(present=Gpu(name="NVIDIA H100", capability=(9, 0), driver=None))
    with pytest.raises(ModelError, match="not NVIDIA H100"):
        load_plan(Kit("tensorrt", NoRuntime(), other), plan)


def test_a_plan_that_the_engine_does_not_open_is_said_with_its_reason(plan, cuda):
    kit = Kit("tensorrt", fake_module(None), cuda)
    with pytest.raises(ModelError, match=r"cannot open it \(version tag differs\)"):
        load_plan(kit, plan)


@pytest.mark.parametrize("compatible", [True, False])
def test_code_in_a_plan_is_only_run_if_it_was_built_so(make_sidecar, kit, compatible):
    plan, _ = make_sidecar(version_compatible=compatible)
    opened, _ = load_plan(kit, plan)
    assert opened.runtime.engine_host_code_allowed is compatible


def test_a_plan_of_another_file_is_refused(plan, kit, tmp_path):
    load_plan(kit, plan, tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"exported again")
    with pytest.raises(ModelError, match="built from another"):
        load_plan(kit, plan, tmp_path / "net.onnx")

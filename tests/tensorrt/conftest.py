"""Engines for the tests: TensorRT-RTX as it is, and plans that open as a fake engine."""

import pytest

from compressor.files import sha256
from compressor.tensorrt.load import here
from compressor.tensorrt.module import Kit, open_kit
from compressor.tensorrt.settings import BuildSettings
from compressor.tensorrt.sidecar import Shapes, Sidecar, write_sidecar

from .fakes import Engine, FakeCuda, fake_module


@pytest.fixture(scope="session")
def rtx():
    """The real TensorRT-RTX, told that there is no GPU: so the tests mean the same everywhere."""
    return open_kit("tensorrt-rtx", FakeCuda(available=False))


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.fixture
def engine(cuda):
    return Engine(cuda.log)


@pytest.fixture
def kit(engine, cuda):
    return Kit("tensorrt", fake_module(engine), cuda)


@pytest.fixture
def make_sidecar(kit, tmp_path):
    """Write a plan with its sidecar; keywords are settings. Gives the plan and the sidecar."""

    def make(**settings):
        plan, onnx = tmp_path / "net.plan", tmp_path / "net.onnx"
        plan.write_bytes(b"plan")
        onnx.write_bytes(b"onnx")
        sizes = Shapes(min=(1, 3), opt=(4, 3), max=(8, 3))
        sidecar = Sidecar(
            built_with=here(kit),
            settings=BuildSettings(**settings),
            plan_sha256=sha256(plan),
            onnx_name="net.onnx",
            onnx_sha256=sha256(onnx),
            onnx_profile=None,
            onnx_precisions={"fp32": 3},
            shapes={"images": sizes},
            sparse=None,
            precisions=None,
            not_inspected="it is a fake",
            warnings=(),
        )
        write_sidecar(plan, sidecar)
        return plan, sidecar

    return make


@pytest.fixture
def plan(make_sidecar):
    return make_sidecar()[0]

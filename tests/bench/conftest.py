"""Networks and files for the engines, a clock that only moves when told to, and fake runners."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compressor.bench.engines import Side
from compressor.files import sha256
from compressor.tensorrt.settings import BuildSettings
from compressor.tensorrt.sidecar import Here, Shapes, Sidecar, write_sidecar

IMAGE_SHAPE = (3, 8, 8)
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, 3, 8, 8] images) => (float[batch, 4, 6, 6] logits) {
    convolved = Conv(images, weight, bias)
    logits = Relu(convolved)
}
"""


class Clock:
    """Seconds that pass only in ``FakeRunner.run``."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeRunner:
    """Takes ``durations`` milliseconds of the clock in turn, the last one for ever."""

    engine = "fake"

    def __init__(self, name: str, clock: Clock, log: list[str], durations: list[float]) -> None:
        self._name, self._clock, self._log, self._durations = name, clock, log, list(durations)

    def prepare(self, batch: Tensor) -> None:
        assert batch.ndim == 4
        self._log.append(f"prepare {self._name}")

    def run(self) -> Tensor:
        self._log.append(self._name)
        left = self._durations
        self._clock.now += (left.pop(0) if len(left) > 1 else left[0]) / 1000
        return torch.zeros(1)

    def close(self) -> None:
        self._log.append(f"close {self._name}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> list[str]:
    """Names of the runners, in the order of their runs."""
    return []


@pytest.fixture
def fake(clock: Clock, log: list[str]) -> Callable[..., FakeRunner]:
    def make(name: str, *durations: float) -> FakeRunner:
        return FakeRunner(name, clock, log, list(durations))

    return make


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


@pytest.fixture
def onnx_path(net: nn.Module, tmp_path: Path) -> Path:
    """The network ``net`` as a file."""
    model = onnx.parser.parse_model(GRAPH)
    for name in ("weight", "bias"):
        array = getattr(net[0], name).detach().numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    return path


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[[str], Path]:
    """A plan that only its sidecar says anything of; it takes images of ``IMAGE_SHAPE``."""

    def make(flavour: str) -> Path:
        plan = tmp_path / "net.plan"
        plan.write_bytes(b"plan")
        sizes = (1, *IMAGE_SHAPE)
        sidecar = Sidecar(
            built_with=Here(flavour=flavour, version="1.0", cuda_build=13, gpu=None),
            settings=BuildSettings(),
            plan_sha256=sha256(plan),
            onnx_name="net.onnx",
            onnx_sha256="0",
            onnx_profile=None,
            onnx_precisions={"fp32": 1},
            shapes={"images": Shapes(min=sizes, opt=sizes, max=sizes)},
            sparse=None,
            precisions=None,
            not_inspected="it is a fake",
            warnings=(),
        )
        write_sidecar(plan, sidecar)
        return plan

    return make


@pytest.fixture
def side(net: nn.Module, onnx_path: Path) -> Side:
    return Side(net, onnx_path, IMAGE_SHAPE)

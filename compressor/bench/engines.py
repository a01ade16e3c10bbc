"""The one list of engines: how each makes a runner for one side of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.runner import Runner
from compressor.bench.timer import Engine
from compressor.bench.torch_runner import TorchRunner


@dataclass(frozen=True)
class Side:
    """One network of a comparison, in the forms that engines run.

    Attributes:
        module: The network itself.
        onnx_path: The file that was exported from it.
        image_shape: Channels, height, width of one input image.
    """

    module: nn.Module
    onnx_path: Path
    image_shape: tuple[int, int, int]


RUNNERS: dict[Engine, Callable[[Side, int], Runner]] = {
    "onnxruntime": lambda side, num_threads: OnnxRuntimeRunner(side.onnx_path, num_threads),
    "torch": lambda side, num_threads: TorchRunner(side.module, num_threads),
}

"""The runner of each engine of the list: of a file, and of one side of a comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from torch import nn

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.openvino_runner import OpenVinoRunner, hint_of
from compressor.bench.runner import Runner
from compressor.bench.torch_runner import TorchRunner
from compressor.engines import CpuEngine, EngineName, GpuEngine
from compressor.tensorrt.module import open_kit
from compressor.tensorrt.runner import TensorRTRunner

OpenFile = Callable[[Path, int], Runner]
"""Makes a runner of a file and a number of threads."""


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


def _plan(flavour: GpuEngine) -> OpenFile:
    return lambda path, _num_threads: TensorRTRunner(path, open_kit(flavour))


OPENERS: Mapping[EngineName, OpenFile] = {
    "onnxruntime": OnnxRuntimeRunner,
    "openvino": lambda path, num_threads: OpenVinoRunner(path, num_threads, hint_of(path)),
    "tensorrt": _plan("tensorrt"),
    "tensorrt-rtx": _plan("tensorrt-rtx"),
}
"""Of the engines that run files."""


def _runner_of_side(engine: CpuEngine) -> Callable[[Side, int], Runner]:
    if engine == "torch":
        return lambda side, num_threads: TorchRunner(side.module, num_threads)
    return lambda side, num_threads: OPENERS[engine](side.onnx_path, num_threads)


RUNNERS: dict[EngineName, Callable[[Side, int], Runner]] = {
    name: _runner_of_side(name) for name in get_args(CpuEngine)
}
"""Of the engines that run networks as they are or as exported: those of this machine's CPU."""

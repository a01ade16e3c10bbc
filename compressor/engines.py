"""The one list of engines: names and facts, to read which no engine has to be there.

What does need one is made from this list: ``bench/engines.py`` has the runner of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CpuEngine = Literal["onnxruntime", "openvino", "torch"]
GpuEngine = Literal["tensorrt", "tensorrt-rtx"]
EngineName = Literal[CpuEngine, GpuEngine]
"""Names, as settings check them; those of the list, in its order."""

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]

Form = Literal["module", "onnx", "plan"]
"""What an engine runs: the network itself, an ONNX file, or a plan built from one."""


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        name: As in settings and records.
        title: What it calls itself, for people.
        runs: What it is given.
        device: Where it runs, as it is used here.
        module: What is imported of it.
        package: What is installed, and has the version.
        precisions: In which it computes by itself; what is in another it converts to one of these.
        otherwise: What it does with other precisions, and so why their times would say nothing.
    """

    name: EngineName
    title: str
    runs: Form
    device: Literal["cpu", "cuda"]
    module: str
    package: str
    precisions: tuple[Precision, ...]
    otherwise: str


_OF_PLANS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8")

_LIST = (
    Engine(
        name="onnxruntime",
        title="ONNX Runtime",
        runs="onnx",
        device="cpu",
        module="onnxruntime",
        package="onnxruntime",
        precisions=("fp32", "int8"),
        otherwise=(
            "ONNX Runtime computes fp16 in float32 on a CPU, and has no bf16 or fp8 layers there"
        ),
    ),
    Engine(
        name="openvino",
        title="OpenVINO",
        runs="onnx",
        device="cpu",
        module="openvino",
        package="openvino",
        precisions=("fp32", "bf16", "int8"),
        # Asked for f16 it does compute so where the processor can, slower than in float32.
        otherwise=(
            "OpenVINO computes fp16 in float32 on a CPU as it is set here, and has no fp8 there"
        ),
    ),
    Engine(
        name="torch",
        title="PyTorch",
        runs="module",
        device="cpu",
        module="torch",
        package="torch",
        precisions=("fp32",),
        otherwise="networks are run in PyTorch as they are, in float32",
    ),
    Engine(
        name="tensorrt",
        title="TensorRT",
        runs="plan",
        device="cuda",
        module="tensorrt",
        package="tensorrt",
        precisions=_OF_PLANS,
        otherwise="TensorRT computes in what the graph says",
    ),
    Engine(
        name="tensorrt-rtx",
        title="TensorRT-RTX",
        runs="plan",
        device="cuda",
        module="tensorrt_rtx",
        package="tensorrt-rtx",
        precisions=_OF_PLANS,
        otherwise="TensorRT-RTX computes in what the graph says",
    ),
)

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in _LIST}
"""All engines by name; where several would do, the first is taken."""

GPU_ENGINES: tuple[EngineName, ...] = tuple(e.name for e in _LIST if e.device == "cuda")
"""Engines that need a CUDA device to run, and so to be measured."""

FILE_ENGINE_NAMES: tuple[EngineName, ...] = tuple(e.name for e in _LIST if e.runs != "module")
"""Engines that run files."""

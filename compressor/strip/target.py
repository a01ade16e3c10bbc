"""What a slim network is for: engine, precision, batch; and the widths that suit that target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from compressor.engines import GPU_ENGINES, EngineName, Precision
from compressor.settings import Settings

LEAST = 4
"""Channels in a vector at least: an engine that finds no multiple of it takes a slower kernel."""


READ_AT_ONCE = "128 bits on tensor cores"
OF_TENSOR_CORES: dict[Precision, tuple[int, str]] = {
    "int8": (32, "vectors of 32 channels"),
    "fp8": (16, READ_AT_ONCE),
}
"""Channels where they are not 8, and what takes so many."""


class TargetSettings(Settings):
    """What the slim network is to run on: widths are aligned for it, and its time is measured."""

    engine: EngineName = "onnxruntime"
    """What runs the network where it is used."""
    precision: Precision = "fp32"
    """Precision it runs in there."""
    batch_size: int = Field(default=1, ge=1)
    """Images in one run."""
    num_threads: int = Field(default=1, ge=1)
    """Threads of the engine. Times of one thread are those on the CPU, which other programs hardly
    change; times of several are those that pass."""


def _multiple(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(
        f'{value!r} is not a multiple for widths; give a whole number from 1, or "auto"'
    )


RoundTo = Annotated[int | Literal["auto"], PlainValidator(_multiple)]
"""Widths are multiples of this; ``auto``: of what suits the target."""


@dataclass(frozen=True)
class Multiple:
    """Channels that widths are multiples of, and why."""

    channels: int
    why: str


class OfAuto(int):
    """The number that ``round_to = "auto"`` came to: counts as it, and is shown with the word.

    So each message on ``strip.round_to`` names what the user wrote, whoever writes the message.
    """

    def __str__(self) -> str:
        return f'"auto", which is {int(self)} here'


def multiple_for(
    round_to: int | Literal["auto"],
    target: TargetSettings,
    onnxruntime_block: Callable[[], int | None],
    torch_capability: str,
) -> Multiple:
    """The multiple that ``round_to`` means on ``target``.

    Sources: vendors' words for the GPU, where nothing was measured here: tensor cores read 128 bits
    at once, 8 channels of fp16 or 16 of fp8. int8 would do with 16 too, but TensorRT lays its
    tensors in vectors of 32 channels and pads to them. In fp32, 4 channels would do for TensorRT; 8
    also suits the same network in fp16. OpenVINO and PyTorch pad to vectors of AVX-512, as
    measured.

    Args:
        round_to: As in the settings.
        target: As in the settings.
        onnxruntime_block: Finds the block of ONNX Runtime on this CPU; None if it has none. Called
            only where it is needed.
        torch_capability: Instruction set as PyTorch names it, such as ``AVX512``.
    """
    if round_to != "auto":
        return Multiple(round_to, "set by strip.round_to")
    engine, precision = target.engine, target.precision
    if engine == "onnxruntime" and precision != "int8":
        return _of_block(onnxruntime_block())
    if engine == "torch" and precision == "fp32":
        wide = torch_capability.startswith("AVX512")
        return Multiple(16 if wide else 8, f"vectors of {torch_capability} in PyTorch")
    if engine in GPU_ENGINES:
        channels, what = OF_TENSOR_CORES.get(precision, (8, READ_AT_ONCE))
        return Multiple(channels, f"{what} in {engine} {precision}, not measured")
    return Multiple(16, f"kernels of {engine} in {precision}")


def _of_block(block: int | None) -> Multiple:
    if block is None:
        return Multiple(8, "ONNX Runtime has no blocked layout on this CPU; a common multiple")
    return Multiple(block, f"ONNX Runtime handles channels in blocks of {block} on this CPU")

"""The accelerate engine: one process or many, CPU or GPU, mixed precision, accumulation."""

from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from compressor.errors import TrainError
from compressor.train.settings import OptimiserSettings

Device = Literal["auto", "cpu"]

MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(settings: OptimiserSettings, device: Device) -> Accelerator:
    """An accelerator for one stage; ``auto`` takes a CUDA GPU where there is one.

    The processes of ``torchrun`` or ``accelerate launch`` are found through the environment.

    Raises:
        TrainError: The device cannot do this precision.
    """
    # accelerate keeps its precision in a process-wide state and refuses another one; each of our
    # stages has its own. What it knows of devices and processes stays.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        return Accelerator(
            cpu=on_cpu(device),
            mixed_precision=MIXED[settings.precision],
            gradient_accumulation_steps=settings.accumulate,
        )
    except ValueError as failure:
        raise TrainError(
            f"precision is {settings.precision}, and this device cannot do it ({failure}). "
            "Use fp32 or bf16."
        ) from failure


def on_cpu(device: Device) -> bool:
    """Whether to stay on the CPU; other accelerators lack the float64 that paths are kept in."""
    return device == "cpu" or not torch.cuda.is_available()


def memory_format(settings: OptimiserSettings) -> torch.memory_format:
    """PyTorch's name of the layout of images."""
    if settings.memory_format == "channels-last":
        return torch.channels_last
    return torch.contiguous_format

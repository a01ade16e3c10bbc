"""Outputs that are numbers: times and distances of a network that gives others say nothing."""

import torch
from torch import Tensor

from compressor.bench.runner import Runner
from compressor.errors import CheckError


def check_finite(outputs: Tensor, name: str) -> None:
    """Refuse outputs that hold NaN or infinity.

    Args:
        outputs: Shape ``(images, ...)``.
        name: What gives them, for the error.

    Raises:
        CheckError: Says for how many images.
    """
    broken = int((~torch.isfinite(outputs)).reshape(len(outputs), -1).any(dim=1).sum())
    if broken:
        raise CheckError(
            f"For {broken} of {len(outputs)} images {name} gives NaN or infinity. "
            "Do not use it; choose another precision, or check the training."
        )


def finite_output(name: str, runner: Runner) -> Tensor:
    """What the prepared runner gives.

    Raises:
        CheckError: It holds NaN or infinity.
    """
    output = runner.run()
    check_finite(output, name)
    return output

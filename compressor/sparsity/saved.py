"""What a method checks of a checkpoint before it goes on from it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compressor.errors import TrainError


def check_method(state: Mapping[str, Any], method: str, level: str) -> None:
    """Raise unless ``state`` was saved by this method at this level.

    Raises:
        TrainError: Names both.
    """
    found = (state.get("method", "another method"), state.get("level", level))
    if found != (method, level):
        raise TrainError(
            f"The checkpoint is of {found[0]} at level {found[1]}, the run of {method} at level "
            f"{level}. Resume with the settings that it was saved with, or train anew."
        )


def saved_tensor(state: Mapping[str, Any], name: str, like: Tensor) -> Tensor:
    """The tensor saved under ``name``, a copy of the device, dtype and layout of ``like``.

    Raises:
        TrainError: There is none, or its shape is not that of ``like``.
    """
    saved = state.get(name)
    if not isinstance(saved, Tensor) or saved.shape != like.shape:
        raise TrainError(
            f"{name}: the checkpoint has nothing of shape {tuple(like.shape)} for it. "
            "Resume with the network and settings that it was saved from."
        )
    # Of the memory layout of ``like``, which no file keeps and sums depend on.
    return torch.empty_like(like).copy_(saved)

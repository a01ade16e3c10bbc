"""What the timer and the checks know of an engine."""

import importlib
from types import ModuleType
from typing import Protocol

from torch import Tensor

from compressor.errors import MissingExtra


class Runner(Protocol):
    """One network in one engine, run again and again on one batch.

    ``prepare`` does all that need not be timed (moving, copying, allocating), so that ``run`` is
    the forward pass alone. A runner never changes the network or the file that it was made from.
    """

    engine: str
    """Name of the engine, as in the settings."""

    def prepare(self, batch: Tensor) -> None:
        """Fix the input of every following ``run``; shape ``(batch, *image_shape)``."""
        ...

    def run(self) -> Tensor:
        """Output for the prepared batch, on the CPU; returns when the result is there."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; the runner cannot be used afterwards."""
        ...


def import_engine(module: str, install: str) -> ModuleType:
    """Import an engine's module.

    Args:
        module: Name to import.
        install: What to give to ``pip install``.

    Raises:
        MissingExtra: It is not installed, or its libraries cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise MissingExtra(
            f"{module} cannot be imported ({reason}). Install it: python -m pip install {install}"
        ) from error

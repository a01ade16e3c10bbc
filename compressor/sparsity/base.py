"""What every method of sparse training is to the loop, and what it is built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings
from compressor.settings import Settings
from compressor.sparsity.candidates import Level
from compressor.structure import Path, Structure


class Sparsifier(Protocol):
    """A sparse training method attached to one model and its optimiser.

    The optimiser's step is reached through PyTorch's own step hooks, so that schedulers, gradient
    accumulation and a step that AMP skips are seen by the method just as by the weights.
    """

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Start: register hooks, make state. Call once, before any step."""
        ...

    def penalty(self) -> Tensor | None:
        """Added to the loss of each batch; None for methods without one."""
        ...

    def structure(self) -> Structure:
        """What is kept now."""
        ...

    def path(self) -> Path:
        """When each unit entered, and how all units rank, whatever the method's level."""
        ...

    def metrics(self) -> dict[str, float]:
        """Figures to log after each epoch."""
        ...

    def notices(self) -> list[str]:
        """What a person should know now, a line each; usually nothing."""
        ...

    def detach(self) -> None:
        """Remove every hook; the model is plain again, and shows what the structure keeps."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on: tensors, numbers, strings, in dicts and lists."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; call after ``attach``."""
        ...


@dataclass(frozen=True)
class Horizon:
    """How long a run will be, for methods that calibrate themselves.

    Attributes:
        num_steps: Optimiser steps.
        path_time: Sum of all step sizes (learning rates).
        seed: For methods that draw random numbers.
        num_epochs: Passes over the images, for methods whose schedule counts them.
    """

    num_steps: int
    path_time: float
    seed: int
    num_epochs: int = 1


MethodSettings = TypeVar("MethodSettings", bound=Settings)


def _yes(_settings: Settings) -> bool:
    return True


def _nothing(_settings: Settings) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Method(Generic[MethodSettings]):
    """One entry of the catalog.

    Attributes:
        name: As written in recipes.
        paper: Source of the method.
        summary: One sentence.
        settings: Its settings class, whose field ``method`` is the name, and ``level``, where it
            has several levels, one of ``levels``.
        build: Makes the sparsifier.
        levels: What it can choose: units, single weights and so on; the default first.
        needs: What a recipe or a network must have for it.
        has_support: Whether, with these settings, it says by itself what is kept, so that a recipe
            needs no budget.
        train_needs: What the training stage must be set to with these settings, by key.
    """

    name: str
    paper: str
    summary: str
    settings: type[MethodSettings]
    build: Callable[[MethodSettings, Horizon], Sparsifier]
    levels: tuple[Level, ...] = ("unit",)
    needs: str = "nothing"
    has_support: Callable[[MethodSettings], bool] = _yes
    train_needs: Callable[[MethodSettings], Mapping[str, Any]] = _nothing

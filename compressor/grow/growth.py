"""What grows, and where it stands between two rounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from compressor.grow.settings import GrowSettings
from compressor.grow.widen import Cutting
from compressor.grow.widths import Limits
from compressor.sparsity.base import Horizon
from compressor.sparsity.lbi_settings import ENTRY_SHARE
from compressor.sparsity.split_lbi import SplitLBI
from compressor.structure import Structure
from compressor.train.job import Job
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

Frame = dict[str, Any]
"""One round; see ``film.frame_of``, ``film.outlook``, and what ``rounds`` adds of a growth."""

Film = list[Frame]
"""One frame a round."""


@dataclass(frozen=True)
class Growth:
    """What grows.

    Attributes:
        full: The network at full width, as initialised.
        limits: What bounds the widths.
        settings: When to widen, and by how much.
        job: The training of the full network; rounds train narrower ones in the same way, for
            ``settings.epochs`` in all at most.
        sparsifier: Makes the method, DessiLBI at level ``unit``.
        inputs: Images on which the output must stay as it is.
        macs: MACs for one image of a structure.
    """

    full: nn.Module
    limits: Limits
    settings: GrowSettings
    job: Job
    sparsifier: Callable[[], SplitLBI]
    inputs: Tensor
    macs: Callable[[Structure], float]

    def cutting(self, structure: Structure) -> Cutting:
        """The cut of the full network that keeps ``structure``."""
        return Cutting.of(self.full, self.limits.couplings, structure)


@dataclass
class Stand:
    """Where growing stands: what the next round trains."""

    cutting: Cutting
    model: nn.Module
    film: Film
    idle: int = 0
    strips: int = 0

    @property
    def number(self) -> int:
        """Of the next round, from 0."""
        return len(self.film)


def clock(
    training: TrainSettings, settings: GrowSettings, steps_per_epoch: int, seed: int
) -> Horizon:
    """The horizon by which a method calibrates itself when it grows.

    Args:
        training: Of all rounds together.
        settings: Length of a round, and of the path in rounds.
        steps_per_epoch: Optimiser steps.
        seed: Of the run.
    """
    a_round = training.model_copy(update={"epochs": settings.round_epochs})
    rounds = settings.entry_rounds / ENTRY_SHARE
    return Horizon(
        num_steps=training.epochs * steps_per_epoch,
        path_time=path_time(a_round, steps_per_epoch) * rounds,
        seed=seed,
        num_epochs=training.epochs,
    )

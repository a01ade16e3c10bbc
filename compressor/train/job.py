"""What the training loop is given: one stage of training, and where it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from compressor.console import Console
from compressor.couplings.coupling import Couplings
from compressor.sparsity.base import Sparsifier
from compressor.tasks.task import Objective, Task
from compressor.train.device import Device
from compressor.train.settings import TrainSettings
from compressor.train.stopping import StopRule

Record = dict[str, Any]
"""What is logged after an epoch: epoch, step, path_time, lr, loss, validation_accuracy, ..."""


@dataclass(frozen=True)
class Job:
    """One stage of training.

    Attributes:
        stage: Name for messages and records.
        model: Trained in place.
        task: Where batches and accuracy come from.
        objective: What is minimised.
        sparsifier: The method.
        couplings: What it works on.
        settings: How weights move.
        seed: For order, augmentation and dropout.
        stop: Asked after each epoch whether that was the last; None trains for all epochs.
    """

    stage: str
    model: nn.Module
    task: Task
    objective: Objective
    sparsifier: Sparsifier
    couplings: Couplings
    settings: TrainSettings
    seed: int
    stop: StopRule | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where a job runs and whom it tells.

    Attributes:
        console: Progress.
        device: Where to.
        checkpoints: Folder for the checkpoint, or None for no checkpoints.
        resume: Go on from the checkpoint there, if there is one.
        checkpoint_seconds: A checkpoint at least this often, beside those after each epoch.
        on_epoch: Called with each new record.
    """

    console: Console = field(default_factory=lambda: Console(quiet=True))
    device: Device = "auto"
    checkpoints: Path | None = None
    resume: bool = False
    checkpoint_seconds: float = 120.0
    on_epoch: Callable[[Record], None] = lambda _record: None

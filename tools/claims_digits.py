"""The digits, the network of the experiments on them, and how it is trained there.

Three convolutions of 16, 32 and 64 filters with pooling, no norms, PyTorch's initialisation: as in
the pilots. There a unit of a coupling is one filter, so the filter groups of the papers are
DessiLBI's units with the twin on the filters.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.couplings.trace import trace
from compressor.data.catalog import DataSettings, load_data
from compressor.data.source import ImageData, Split
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.strip.apply import apply
from compressor.strip.plan import make_plan
from compressor.structure import Structure
from compressor.tasks.classification import Classification, TaskSettings
from compressor.tasks.model import ModelSettings, build_model
from compressor.tasks.task import Objective, TaskLoss
from compressor.train.loop import Job, Record, Surroundings, steps_per_epoch, train
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (16, 32, 64)
EPOCHS, BATCH, RATE = 40, 64, 0.05

LAMBDA_ONE = math.sqrt(3.0)
"""The experiments have lambda = 1 in the units of the weights; the product's ``lam`` counts in mean
initial norms, which PyTorch's initialisation makes 1 / sqrt(3), but for a few percent by chance."""

Keep = dict[str, Tensor]
"""Which filters of each layer stay: bool, by coupling."""


def epochs_of(effort: float, epochs: int = EPOCHS) -> int:
    """So many epochs at full effort, a share of them for a quick look."""
    return max(2, round(effort * epochs))


def digits(classes: Sequence[int] = tuple(range(10))) -> Classification:
    """The task of telling some of the digits apart; the same images for every seed."""
    data = load_data(DataSettings(source="digits"), Path(), seed=0)
    chosen = list(classes)
    parts = (_of_classes(part, chosen) for part in (data.train, data.validation, data.test))
    names = tuple(data.classes[number] for number in chosen)
    return Classification(ImageData(data.name, *parts, names, data.mean, data.std), TaskSettings())


def _of_classes(split: Split, classes: list[int]) -> Split:
    some = split.take(np.flatnonzero(np.isin(split.labels, classes)))
    return Split(some.images, np.searchsorted(classes, some.labels).astype(np.int64))


def network(seed: int, num_classes: int = 10, widths: Sequence[int] = WIDTHS) -> nn.Module:
    """A fresh network, its weights drawn by ``seed``."""
    settings = ModelSettings(
        factory="models/plain.py:plain_net", arguments={"widths": list(widths), "image_size": 8}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(settings, num_classes, 1, (ROOT,))


def couplings_of(net: nn.Module, task: Classification) -> Couplings:
    """One coupling for each convolution."""
    return trace(net, task.example(2))


def settings_of(epochs: int, batch: int = BATCH) -> TrainSettings:
    """Momentum SGD at a constant rate, without weight decay."""
    return TrainSettings(
        epochs=epochs, batch_size=batch, lr=RATE, weight_decay=0.0, schedule="constant"
    )


def horizon_of(task: Classification, settings: TrainSettings, seed: int) -> Horizon:
    """How long a run of these settings is."""
    per_epoch = steps_per_epoch(task, settings)
    return Horizon(
        num_steps=settings.epochs * per_epoch,
        path_time=path_time(settings, per_epoch),
        seed=seed,
        num_epochs=settings.epochs,
    )


@dataclass(frozen=True)
class Run:
    """One training of ``net``, in place.

    Attributes:
        net: The network.
        task: What it learns.
        settings: How.
        seed: Order of the images.
        objective: What is minimised; None is the task's loss.
        around: Progress, checkpoints, and what is done after each epoch.
    """

    net: nn.Module
    task: Classification
    settings: TrainSettings
    seed: int
    objective: Objective | None = None
    around: Surroundings = field(default_factory=lambda: Surroundings(device="cpu"))

    def train(
        self, sparsifier: Sparsifier | None = None, couplings: Couplings | None = None
    ) -> list[Record]:
        """Train, with a method or without; the records of the epochs."""
        nothing = Dense(DenseSettings(), horizon_of(self.task, self.settings, self.seed))
        job = Job(
            stage="claims",
            model=self.net,
            task=self.task,
            objective=self.objective or TaskLoss(self.task),
            sparsifier=sparsifier or nothing,
            couplings=couplings or Couplings(()),
            settings=self.settings,
            seed=self.seed,
        )
        return train(job, self.around)


@torch.no_grad()
def accuracy(net: nn.Module, task: Classification) -> float:
    """Share of the test images that ``net`` gets right."""
    return task.accuracy(net.eval(), "test")


def trained_accuracy(net: nn.Module, task: Classification, settings: TrainSettings, seed: int):
    """Accuracy of ``net`` after ordinary training, of the last epoch."""
    Run(net, task, settings, seed).train()
    return accuracy(net, task)


@torch.no_grad()
def masked(net: nn.Module, couplings: Couplings, keep: Keep) -> nn.Module:
    """A copy of ``net`` with all filters zero that are left out, be it all of a layer."""
    copied = copy.deepcopy(net)
    tensors = named_tensors(copied)
    for coupling in couplings.free:
        for member in coupling.of_kind("filter", "bias"):
            member.zero_(tensors[member.tensor], ~keep[coupling.name])
    return copied


def slim(net: nn.Module, couplings: Couplings, keep: Keep) -> nn.Module:
    """``net`` with only the filters that are kept, physically."""
    return apply(make_plan(net, couplings, Structure(keep)), net)


def random_like(keep: Keep, seed: int) -> Keep:
    """As many filters of each layer, drawn by chance."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randperm(len(kept), generator=generator) < kept.sum()).view(-1)
        for name, kept in keep.items()
    }


def share_of(keep: Keep) -> float:
    """Share of all filters that is kept."""
    return 1.0 - Structure(keep).sparsity

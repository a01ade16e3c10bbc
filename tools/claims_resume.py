"""E11: a resumed run is the run that never stopped, for every method of the catalog and level."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from claims_digits import Run, couplings_of, digits, horizon_of, network
from torch import Tensor

from compressor.sparsity.catalog import METHODS
from compressor.tasks.classification import Classification
from compressor.tasks.task import Batch
from compressor.train.checkpoint import load_state
from compressor.train.loop import Surroundings
from compressor.train.settings import TrainSettings

Figures = dict[str, Any]

EPOCHS, PER_EPOCH, STOP = 5, 4, 10
"""20 steps; the stop lies inside an epoch."""

WIDTHS = (4, 6)
NEEDS_NORMS = ("network-slimming",)
"""Methods that need batch norms, which this network has not."""

EAGER: Mapping[str, Mapping[str, Any]] = {
    "dessilbi": {"entry_share": 0.05, "lam": 0.5},
    "itop": {"interval": 3, "density": 0.4},
    "optg": {"density": 0.4},
    "gates": {"strength": 0.1},
    "magnitude": {"schedule": "cubic", "interval": 3, "density": 0.4},
}
"""Settings with which things happen within 20 steps."""


def resume(seed: int, effort: float) -> Figures:
    """Whether each method and level ends equal to the last bit; short at any effort."""
    del effort
    cases = [
        (name, level)
        for name, method in METHODS.items()
        for level in method.levels
        if name not in NEEDS_NORMS
    ]
    return {"same": {f"{name} ({level})": _same(name, level, seed) for name, level in cases}}


class _Cut(Exception):
    """Stands for whatever kills a run."""


class _Ending(Classification):
    """The task until its batches run out."""

    def __init__(self, task: Classification, num_batches: int) -> None:
        vars(self).update(vars(task))
        self._left = num_batches

    def batch(self, places: Tensor, generator: torch.Generator) -> Batch:
        self._left -= 1
        if self._left < 0:
            raise _Cut
        return super().batch(places, generator)


def _same(name: str, level: str, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        straight, cut = Path(folder) / "straight", Path(folder) / "cut"
        task = digits()
        # The first run saves its checkpoints no more often than after an epoch.
        _run(name, level, seed, task, Surroundings(device="cpu", checkpoints=straight))
        often = Surroundings(device="cpu", checkpoints=cut, checkpoint_seconds=-1.0)
        try:
            _run(name, level, seed, _Ending(task, STOP), often)
        except _Cut:
            torch.manual_seed(seed + 1)  # another process has another global state
        else:
            raise AssertionError("the run came to its end before it was cut")
        _run(name, level, seed, task, Surroundings(device="cpu", checkpoints=cut, resume=True))
        return equal(_without_clock(load_state(straight)), _without_clock(load_state(cut)))


def _run(name: str, level: str, seed: int, task: Classification, around: Surroundings) -> None:
    net = network(seed, widths=WIDTHS)
    settings = TrainSettings(epochs=EPOCHS, batch_size=task.num_train // PER_EPOCH, lr=0.05)
    method = METHODS[name]
    wanted = dict(EAGER.get(name, {}))
    if level == "2:4":
        wanted.pop("density", None)  # it has its own
    if "level" in method.settings.model_fields:
        wanted["level"] = level
    sparsifier = method.build(method.settings(**wanted), horizon_of(task, settings, seed))
    Run(net, task, settings, seed, around=around).train(sparsifier, couplings_of(net, task))


def _without_clock(state: dict[str, Any] | None) -> dict[str, Any]:
    """A checkpoint without how fast its epochs were."""
    assert state is not None
    history = [
        {key: value for key, value in record.items() if key != "images_per_second"}
        for record in state["history"]
    ]
    return {**state, "history": history}


def equal(one: Any, other: Any) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)

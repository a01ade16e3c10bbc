"""Growing: rounds of training along the path, and the network widened between them.

After the growing networks of Fu et al., Exploring Structural Sparsity of Deep Networks via Inverse
Scale Spaces, arXiv 1905.09449. There each layer grows by itself, from fresh weights and with
optimiser and twins started anew; here a coupling grows as one, the output stays as it is, and
momentum, norm statistics and the path go on.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import named_tensors
from compressor.errors import CheckError
from compressor.files import read_json, write_json
from compressor.grow.settings import GrowSettings
from compressor.grow.widen import (
    Between,
    Cutting,
    fresh,
    split_,
    widened,
    widened_moments,
)
from compressor.grow.widths import Limits, first_structure, leading, next_structure
from compressor.sparsity.base import Horizon
from compressor.sparsity.lbi_settings import ENTRY_SHARE
from compressor.sparsity.split_lbi import SplitLBI
from compressor.strip.compare import relative_difference
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure, UnitPath
from compressor.train.checkpoint import load_state, save_state
from compressor.train.loop import Job, Record, Surroundings, train
from compressor.train.optimizer import make_optimizer, parameter_names
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

FILM_FILE = "film.json"

MAX_CHANGE = 1e-5
"""Largest relative change of the outputs at a growth, in float32; 1e-6 is usual."""

Film = list[dict[str, Any]]
"""One entry a round; see ``frame_of``."""


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


@dataclass(frozen=True)
class Grown:
    """What came out.

    Attributes:
        model: The grown network.
        cutting: Its cut of the full network.
        path: Over the units of the full network; what was never there has not entered.
        history: Records of all epochs.
        film: One entry a round; see ``frame_of``.
    """

    model: nn.Module
    cutting: Cutting
    path: UnitsPath
    history: list[Record]
    film: Film


@dataclass
class _Stand:
    """Where growing stands: what the next round trains."""

    cutting: Cutting
    model: nn.Module
    film: Film
    idle: int = 0

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


def grow(growth: Growth, around: Surroundings, folder: Path) -> Grown:
    """Grow a network; what an earlier call that was stopped left in ``folder`` goes on.

    Args:
        growth: What grows.
        around: Where and how rounds are trained; checkpoints go into ``folder``.
        folder: For checkpoints and the film.

    Raises:
        BudgetError: The network that growing starts from is above a ceiling.
        CheckError: A growth changed the output.
        TrainError: A round cannot be trained.
    """
    stand = _stand(growth, folder)
    limit = growth.job.settings.epochs
    while True:
        last = min(limit, (stand.number + 1) * growth.settings.round_epochs)
        place = folder / f"round-{stand.number}"
        job = _job(growth, stand, last)
        history = train(job, replace(around, checkpoints=place, resume=True))
        sparsifier = job.sparsifier
        assert isinstance(sparsifier, SplitLBI)
        shares = support_shares(sparsifier.structure())
        structure = next_structure(growth.limits, stand.cutting.structure, shares, growth.settings)
        stand.film.append(frame_of(growth, stand, history, shares))
        same = structure.widths() == stand.cutting.structure.widths()
        stand.idle = stand.idle + 1 if same and not under_way(stand.film) else 0
        if last == limit or stand.idle >= growth.settings.patience:
            path = full_path(growth, stand.cutting, sparsifier.path())
            return Grown(stand.model, stand.cutting, path, history, stand.film)
        _go_on(growth, stand, sparsifier, growth.cutting(structure), folder)


def support_shares(support: Structure) -> dict[str, float]:
    """Share of each coupling's units that has entered, in [0, 1]."""
    return {name: float(kept.double().mean()) for name, kept in support.keep.items()}


def under_way(film: Film) -> bool:
    """Whether couplings that are not full may still fill.

    They may while units enter, and as long as the path has not reached every coupling.
    """
    if min(film[-1]["entered"].values()) == 0:
        return True
    counts: list[float] = [
        sum(frame["entered"][name] * width for name, width in frame["widths"].items())
        for frame in film[-2:]
    ]
    return counts[-1] > (counts[0] if len(counts) > 1 else 0)


def frame_of(
    growth: Growth, stand: _Stand, history: list[Record], shares: Mapping[str, float]
) -> dict[str, Any]:
    """One picture of the film, taken at the end of a round.

    Returns:
        ``epoch`` and ``step`` at its end; ``widths`` of the couplings; ``macs`` of the network,
        ``macs_share`` of the full one's; ``entered``, shares in [0, 1]; ``validation_accuracy``;
        ``forward_macs``: MACs of one forward pass of every image trained on so far.
    """
    structure, record = stand.cutting.structure, history[-1]
    before = stand.film[-1] if stand.film else {"step": 0, "forward_macs": 0}
    images = (record["step"] - before["step"]) * growth.job.settings.batch_size
    macs = growth.macs(structure)
    return {
        "epoch": record["epoch"],
        "step": record["step"],
        "widths": structure.widths(),
        "macs": round(macs),
        "macs_share": macs / growth.macs(growth.limits.couplings.everything()),
        "entered": dict(shares),
        "validation_accuracy": record["validation_accuracy"],
        "forward_macs": before["forward_macs"] + round(macs) * images,
    }


def _stand(growth: Growth, folder: Path) -> _Stand:
    """Where an earlier call stopped, or the beginning."""
    file = folder / FILM_FILE
    if not file.is_file():
        cutting = growth.cutting(first_structure(growth.limits, growth.settings))
        return _Stand(cutting, fresh(growth.full, cutting), [])
    saved = read_json(file)
    cutting = growth.cutting(leading(growth.limits.couplings, saved["widths"]))
    # Its weights are in the checkpoint of the round.
    return _Stand(cutting, fresh(growth.full, cutting), saved["film"], saved["idle"])


def _job(growth: Growth, stand: _Stand, last_epoch: int) -> Job:
    settings = growth.job.settings.model_copy(update={"epochs": last_epoch})
    return replace(
        growth.job,
        model=stand.model,
        sparsifier=growth.sparsifier(),
        couplings=stand.cutting.couplings,
        settings=settings,
    )


def _go_on(
    growth: Growth, stand: _Stand, sparsifier: SplitLBI, after: Cutting, folder: Path
) -> None:
    """Widen the network and all that is known of it, and put the next round's checkpoint there."""
    old_place = folder / f"round-{stand.number - 1}"
    state = load_state(old_place)
    assert state is not None, "a round ends with a checkpoint"
    before, old = stand.cutting, stand.model
    if after.structure.widths() != before.structure.widths():
        new = widened(old, growth.full, before, after)
        if growth.settings.new_units == "split":
            _split(growth, new, (before, after), sparsifier.path(), stand.number)
        change = changed_by(old, new, growth.inputs)
        stand.film[-1]["change_of_outputs"] = change
        state = _widened_state(growth, state, (sparsifier, old, new), (before, after))
        stand.cutting, stand.model = after, new
    save_state(folder / f"round-{stand.number}", state)
    # From here on the next round counts; a stop before it repeats the widening.
    saved = {"film": stand.film, "idle": stand.idle, "widths": after.structure.widths()}
    write_json(folder / FILM_FILE, saved)
    shutil.rmtree(old_place, ignore_errors=True)


def _split(
    growth: Growth,
    model: nn.Module,
    cuttings: tuple[Cutting, Cutting],
    path: UnitsPath,
    number: int,
) -> None:
    """Let the new units of ``model`` begin as copies of the best ones."""
    generator = torch.Generator().manual_seed(growth.job.seed + number)
    between = Between.of(*cuttings)
    for coupling in cuttings[1].couplings.free:
        new = between.new_units(coupling.name, coupling.num_units)
        best = path.couplings[coupling.name].score.argsort(descending=True, stable=True)
        if (count := int(new.sum())) and count <= len(best):
            parents = between.units[coupling.name][1][best[:count]]
            split_(model, coupling, new, parents, generator)


@torch.no_grad()
def changed_by(old: nn.Module, new: nn.Module, inputs: Tensor) -> float:
    """Relative difference of the outputs of two networks in eval mode.

    Raises:
        CheckError: It is more than ``MAX_CHANGE``.
    """
    change = relative_difference(old.eval()(inputs), new.eval()(inputs))
    if not change <= MAX_CHANGE:
        raise CheckError(
            f"Widening changed the output by {change:.1e}, more than {MAX_CHANGE:g}. Norms over "
            "several channels (layer norm, group norm) see the new ones; grow a network with "
            "batch norm, or search at full width."
        )
    return change


def _widened_state(
    growth: Growth,
    state: Mapping[str, Any],
    networks: tuple[SplitLBI, nn.Module, nn.Module],
    cuttings: tuple[Cutting, Cutting],
) -> dict[str, Any]:
    """A checkpoint of the old network as one of the new network."""
    sparsifier, old, new = networks
    between = Between.of(*cuttings)
    olds, news = named_tensors(old), named_tensors(new)

    def sources(name: str) -> tuple[Tensor, tuple[int, ...]]:
        return between.source(name, news[name], olds[name]), tuple(olds[name].shape)

    # Attached for a moment, which makes its state in the shapes of the new network.
    probe = growth.sparsifier()
    probe.attach(new, make_optimizer(new, growth.job.settings), cuttings[1].couplings)
    grown = probe.grown_state(sparsifier, sources, between.units)
    probe.detach()
    return {
        **state,
        "model": new.state_dict(),
        "optimizer": widened_moments(
            state["optimizer"], parameter_names(new), between, (olds, news)
        ),
        "sparsifier": grown,
    }


def full_path(growth: Growth, cutting: Cutting, path: UnitsPath) -> UnitsPath:
    """The path of a grown network over the units of the full one."""
    empty = UnitsPath.of_scores(
        path.method,
        {c.name: torch.zeros(c.num_units) for c in growth.limits.couplings.free},
    )
    couplings = {}
    for name, nothing in empty.couplings.items():
        kept, units = cutting.structure.keep[name], path.couplings[name]
        couplings[name] = UnitPath(
            entry_step=nothing.entry_step.masked_scatter(kept, units.entry_step),
            entry_time=nothing.entry_time.masked_scatter(kept, units.entry_time),
            score=nothing.score.masked_scatter(kept, units.score),
            factors={
                key: torch.zeros_like(nothing.score).masked_scatter(kept, factor)
                for key, factor in units.factors.items()
            },
        )
    return UnitsPath(path.method, couplings)

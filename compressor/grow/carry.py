"""From one round to the next: the network, and all that training holds of it, brought along."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, named_tensors
from compressor.errors import CheckError
from compressor.grow.growth import Growth
from compressor.grow.widen import Between, Cutting, split_, widened, widened_moments
from compressor.sparsity.lbi_grown import grown_state
from compressor.sparsity.split_lbi import SplitLBI
from compressor.strip.compare import relative_difference
from compressor.structure import Path
from compressor.train.optimizer import make_optimizer, parameter_names

MAX_CHANGE = 1e-6
"""Largest relative change of the outputs at a growth, computed in float64.

What is left there comes from shares of weights, which are stored in float32.
"""


@dataclass(frozen=True)
class Carried:
    """A network between two rounds, and all that training holds of it.

    Attributes:
        cutting: Its cut of the full network.
        model: The network.
        state: Its checkpoint.
        sparsifier: The method, detached.
    """

    cutting: Cutting
    model: nn.Module
    state: Mapping[str, Any]
    sparsifier: SplitLBI


@dataclass(frozen=True)
class Change:
    """Relative difference of the outputs before and after a growth."""

    in_float64: float
    in_float32: float


def brought(
    growth: Growth, carried: Carried, after: Cutting, number: int
) -> tuple[Carried, Change | None]:
    """What training goes on with in another cut, and how far the outputs changed if it has grown.

    Args:
        growth: What grows.
        carried: Of one cut; not touched.
        after: A cut inside that one, or around it.
        number: Of the round that follows; it varies what is drawn.

    Raises:
        CheckError: The outputs changed by more than ``MAX_CHANGE``.
    """
    before, old = carried.cutting, carried.model
    new, change = widened(old, growth.full, before, after), None
    if after.structure.num_kept > before.structure.num_kept:
        if growth.settings.new_units == "split":
            _split(growth, new, (before, after), carried.sparsifier.path(), number)
        change = changed_by(old, new, growth.inputs)
    between = Between.of(before, after)
    olds, news = named_tensors(old), named_tensors(new)

    def sources(name: str) -> tuple[Tensor, tuple[int, ...]]:
        return between.source(name, news[name], olds[name]), tuple(olds[name].shape)

    # Attached for a moment, which makes its state in the shapes of the new network.
    method = growth.sparsifier()
    method.attach(new, make_optimizer(new, growth.job.settings), after.couplings)
    method.load_state_dict(grown_state(carried.sparsifier, method, sources, between.units))
    method.detach()
    names = parameter_names(new)
    state = {
        **carried.state,
        "model": new.state_dict(),
        "optimizer": widened_moments(carried.state["optimizer"], names, between, (olds, news)),
        "sparsifier": method.state_dict(),
    }
    return Carried(after, new, state, method), change


def _split(
    growth: Growth,
    model: nn.Module,
    cuttings: tuple[Cutting, Cutting],
    path: Path,
    number: int,
) -> None:
    """Let the new units of ``model`` begin as copies of the best ones."""
    generator = torch.Generator().manual_seed(growth.job.seed + number)
    between = Between.of(*cuttings)
    for coupling in cuttings[1].couplings.free:
        new = between.new_units(coupling.name, coupling.num_units)
        if new.any():
            best = path.couplings[coupling.name].score.argsort(descending=True, stable=True)
            parents = between.units[coupling.name][1][best]
            split_all_(model, coupling, new, parents, generator)


def split_all_(
    model: nn.Module,
    coupling: Coupling,
    new: Tensor,
    parents: Tensor,
    generator: torch.Generator,
) -> None:
    """Make every new unit of ``model`` a copy of an old one, in place.

    Where there are more new units than old ones the best have several copies: what is left to a
    parent after one division is divided again.

    Args:
        model: The wider network.
        coupling: Of it.
        new: Which of its units are new, bool.
        parents: Places of the old ones, the best first; at least one.
        generator: Draws the shares.
    """
    for places in torch.split(new.nonzero().flatten(), len(parents)):
        some = torch.zeros_like(new)
        some[places] = True
        split_(model, coupling, some, parents[: len(places)], generator)


@torch.no_grad()
def changed_by(old: nn.Module, new: nn.Module, inputs: Tensor) -> Change:
    """How far the outputs of two networks in eval mode are apart.

    Raises:
        CheckError: In float64 it is more than ``MAX_CHANGE``.
    """
    single = relative_difference(old.eval()(inputs), new.eval()(inputs))
    olds, news = (copy.deepcopy(network).double()(inputs.double()) for network in (old, new))
    change = Change(relative_difference(olds, news), single)
    if not change.in_float64 <= MAX_CHANGE:
        raise CheckError(
            f"Widening changed the output by {change.in_float64:.1e}, more than {MAX_CHANGE:g}. "
            "Norms over several channels (layer norm, group norm) see the new ones; grow a network "
            "with batch norm, or search at full width."
        )
    return change

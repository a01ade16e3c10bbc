"""Widening: a network, and all that training holds of it, takes up units and computes the same.

Old and new network are two cuts of one full network, the old one inside the new one. What the old
one has goes to the same places of the new one. New units get fresh filters, and the slices that
read them are zero, so that the output is the old one to rounding; they learn from the next step on,
since the gradient of a slice that reads is that of the output times the unit's activation.

The function is kept in Net2Net too (Chen et al., arXiv 1511.05641), there by copies of units; the
growing networks of Fu et al., arXiv 1905.09449, keep the leading block and draw the rest anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, Couplings, named_tensors
from compressor.strip.as_drawn import apply_as_drawn
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.shrunk import shrunk
from compressor.structure import NEVER, Structure

SQUARES = ("exp_avg_sq", "max_exp_avg_sq")
"""What AdamW keeps of squared gradients, by which it divides."""

Both = tuple[Tensor, Tensor]
"""Places of the same things, int64: among the old ones, and among the new ones."""


@dataclass(frozen=True)
class Cutting:
    """One cut of the full network.

    Attributes:
        structure: What is kept.
        plan: How it is cut.
        couplings: Of the network that is left.
    """

    structure: Structure
    plan: StripPlan
    couplings: Couplings

    @classmethod
    def of(cls, full: nn.Module, couplings: Couplings, structure: Structure) -> "Cutting":
        """The cut of ``full`` that ``structure`` makes."""
        plan = make_plan(full, couplings, structure)
        return cls(structure, plan, shrunk(couplings, structure, plan))


def fresh(full: nn.Module, cutting: Cutting) -> nn.Module:
    """The network of one cut with the weights of ``full``, as large as if drawn for its width."""
    return apply_as_drawn(cutting.plan, full)


@torch.no_grad()
def widened(old: nn.Module, full: nn.Module, before: Cutting, after: Cutting) -> nn.Module:
    """The network of the cut ``after``: the function of ``old``, with more units.

    Args:
        old: The network of the cut ``before``, trained.
        full: The full network, whose weights new units take.
        before: A cut inside ``after``.
        after: The new cut.
    """
    model = fresh(full, after)
    tensors, olds = named_tensors(model), named_tensors(old)
    between = Between.of(before, after)
    for name, tensor in tensors.items():
        between.put_(name, tensor, olds[name])
    for coupling in after.couplings.free:
        new = between.new_units(coupling.name, coupling.num_units)
        for member in coupling.of_kind("input"):
            tensor = tensors[member.tensor]
            tensor.movedim(member.axis, 0)[member.index[new].flatten()] = 0
    return model


@torch.no_grad()
def split_(
    model: nn.Module,
    coupling: Coupling,
    new: Tensor,
    parents: Tensor,
    generator: torch.Generator,
) -> None:
    """Make new units of ``model`` copies of old ones, which share what reads them, in place.

    A copy alone learns what its parent learns. So what reads a parent is divided at random, weight
    by weight, and the gradients of the two differ from the first step on.

    Args:
        model: The wider network.
        coupling: Of it.
        new: Which of its units are new, bool.
        parents: For each new unit the place of another, old one; no parent twice.
        generator: Draws the shares.
    """
    tensors, children = named_tensors(model), new.nonzero().flatten()
    members = sorted(coupling.members, key=lambda member: member.kind == "input")
    done: set[tuple[int, int]] = set()
    for member in members:
        place = (tensors[member.tensor].data_ptr(), member.axis)
        if place in done:  # under another name of the same tensor
            continue
        done.add(place)
        rows = tensors[member.tensor].movedim(member.axis, 0)
        from_, to = member.index[parents].flatten(), member.index[children].flatten()
        if member.kind == "input":
            shares = torch.rand(rows[to].shape, generator=generator, dtype=rows.dtype)
            rows[to] = rows[from_] * shares
            rows[from_] = rows[from_] - rows[to]
        else:
            rows[to] = rows[from_]


@dataclass(frozen=True)
class Between:
    """Where what two cuts of one network have in common lies in each of them.

    Attributes:
        axes: By tensor and axis: places of the common entries in the old network, and in the new
            one; axes that no cut shortens are left out.
        units: By coupling: places of the common units in the old network, and in the new one.
    """

    axes: Mapping[tuple[str, int], Both]
    units: Mapping[str, Both]

    @classmethod
    def of(cls, before: Cutting, after: Cutting) -> "Between":
        """Of two cuts of the same network."""
        olds, news = _kept(before.plan), _kept(after.plan)
        axes = {}
        for place in olds.keys() | news.keys():
            # An axis that one of them leaves whole is as long as the other says.
            size = len(olds.get(place, news.get(place, torch.empty(0))))
            whole = torch.ones(size, dtype=torch.bool)
            axes[place] = _both(olds.get(place, whole), news.get(place, whole))
        olds_units, news_units = before.structure.keep, after.structure.keep
        return cls(axes, {name: _both(olds_units[name], kept) for name, kept in news_units.items()})

    def new_units(self, coupling: str, num_units: int) -> Tensor:
        """Which of a coupling's units were not there before, bool, shape ``(num_units,)``."""
        new = torch.ones(num_units, dtype=torch.bool)
        new[self.units[coupling][1]] = False
        return new

    def put_(self, name: str, new: Tensor, old: Tensor) -> None:
        """Write what both have of a tensor from ``old`` into ``new``."""
        if not old.dim():
            new.copy_(old)
            return
        both = [
            self.axes.get((name, axis), (torch.arange(size), torch.arange(size)))
            for axis, size in enumerate(old.shape)
        ]
        olds, news = zip(*both, strict=True)
        values = old[tuple(torch.meshgrid(*olds, indexing="ij"))]
        new[tuple(torch.meshgrid(*news, indexing="ij"))] = values.to(new.dtype)

    def source(self, name: str, new: Tensor, old: Tensor) -> Tensor:
        """For each entry of ``new`` the number of its entry in ``old`` (flat), or ``NEVER``."""
        found = torch.full(new.shape, NEVER, dtype=torch.int64)
        self.put_(name, found, torch.arange(old.numel()).view(old.shape))
        return found


def _kept(plan: StripPlan) -> dict[tuple[str, int], Tensor]:
    """By tensor and axis of a plan, which positions of the full network are kept, bool."""
    kept = {}
    for cut in plan.cuts:
        kept[cut.tensor, cut.axis] = torch.zeros(cut.size, dtype=torch.bool)
        kept[cut.tensor, cut.axis][list(cut.keep)] = True
    return kept


def _both(old: Tensor, new: Tensor) -> Both:
    """Places of what both keep among what the first keeps, and among what the second keeps."""
    return new[old].nonzero().flatten(), old[new].nonzero().flatten()


def widened_moments(
    state: Mapping[str, Any],
    names: Iterable[str],
    between: Between,
    shapes: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
) -> dict[str, Any]:
    """State of an optimiser for the wider network; new entries have no momentum yet.

    The mean square of their gradients is taken for the mean over the old entries of the parameter.
    AdamW counts steps for a whole parameter, so that beside a long past a square that began at
    zero would be taken for a tiny gradient, and the first updates were several times the rate.

    Args:
        state: ``state_dict`` of the optimiser.
        names: Of its parameters, in the order of their numbers in ``state``.
        between: Where the old entries lie.
        shapes: Tensors of the old and of the new network by name.
    """
    olds, news = shapes
    wider: dict[int, dict[str, Any]] = {}
    for number, name in enumerate(names):
        entries = state["state"].get(number, {})
        wider[number] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == olds[name].shape:
                begins = float(value.mean()) if key in SQUARES else 0.0
                new = torch.full(news[name].shape, begins, dtype=value.dtype)
                between.put_(name, new, value.cpu())
                value = new
            wider[number][key] = value
    return {**state, "state": {number: entries for number, entries in wider.items() if entries}}

"""Couplings: sets of tensor slices that must shrink together, unit by unit.

A unit is one index of a coupling: a channel everywhere it appears. Training ranks units, stripping
removes units, and both read the same members, so they cannot disagree on what a unit is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from compressor.couplings.branch import Branch, dead_branches, without_dead
from compressor.errors import StructureError
from compressor.structure import Structure

if TYPE_CHECKING:
    from compressor.couplings.program import Program

Kind = Literal["filter", "bias", "scale", "shift", "statistic", "input"]
"""What a member holds of a unit.

The unit's ``filter`` and ``bias`` in a layer that produces it, its ``scale`` and ``shift`` in a
norm, its running ``statistic`` there (or anything else that leaves a zero channel at zero, like the
slope of a PReLU), and the slice of a consuming layer's weight that reads it (``input``).
"""


@dataclass(frozen=True)
class Member:
    """One axis of one tensor along which the units of a coupling lie.

    Attributes:
        tensor: Name of the parameter or buffer, as in ``state_dict``.
        axis: The axis.
        index: int64, shape ``(units, block)``: the positions that belong to each unit. A block is
            wider than one where a channel is flattened into several positions.
        kind: What is stored there.
    """

    tensor: str
    axis: int
    index: Tensor
    kind: Kind

    def rows(self, tensor: Tensor) -> Tensor:
        """Slices of ``tensor`` that belong to each unit, a copy, shape ``(units, entries)``."""
        moved = tensor.movedim(self.axis, 0)
        if self._is_whole_axis(len(moved)):
            return moved.reshape(len(self.index), -1).clone(memory_format=torch.contiguous_format)
        return moved[self.index.to(tensor.device)].flatten(1)

    def add_rows_(self, tensor: Tensor, rows: Tensor, alpha: float) -> None:
        """Add ``alpha * rows`` (shape ``(units, entries)``) to the slices of ``tensor``."""
        moved = tensor.movedim(self.axis, 0)
        if self._is_whole_axis(len(moved)):
            moved.add_(rows.reshape(moved.shape), alpha=alpha)
            return
        flat = self.index.flatten().to(tensor.device)
        moved.index_add_(0, flat, rows.reshape(len(flat), *moved.shape[1:]), alpha=alpha)

    def _is_whole_axis(self, size: int) -> bool:
        """Whether unit ``i`` is position ``i``, for every position of the axis: the common case.

        Reading and adding then need no index, which is several times faster on a CPU.
        """
        return self._in_order and self.index.numel() == size

    @cached_property
    def _in_order(self) -> bool:
        return self.index.flatten().tolist() == list(range(self.index.numel()))

    def zero_(self, tensor: Tensor, units: Tensor) -> None:
        """Set the slices of the given units (bool, shape ``(units,)``) to zero."""
        positions = self.index[units].flatten().to(tensor.device)
        tensor.movedim(self.axis, 0)[positions] = 0


@dataclass(frozen=True)
class Coupling:
    """Slices that shrink together.

    Attributes:
        name: Name of the first layer that produces the units; unique in a network.
        num_units: How many units there are.
        members: All slices.
    """

    name: str
    num_units: int
    members: tuple[Member, ...]

    def of_kind(self, *kinds: Kind) -> tuple[Member, ...]:
        """The members of these kinds."""
        return tuple(member for member in self.members if member.kind in kinds)


@dataclass(frozen=True)
class FrozenCoupling:
    """Units that cannot be removed, and why."""

    name: str
    num_units: int
    reason: str


Engine = Literal["both", "index-flow", "torch-pruning"]
"""Which engine finds couplings. ``both``: index flow, and torch-pruning must not contradict it."""

Heads = Literal["whole", "dimensions"]
"""What leaves attention: whole heads, or the same entries of every head, which all stay."""

Form = Literal["module", "mended", "graph"]
"""How the network is cut.

``module``: its own modules, each layer's attributes after the table. ``mended``: also whole numbers
elsewhere in it that were equal to an old width. ``graph``: the captured graph, constants rewritten.
"""


@dataclass(frozen=True)
class Agreement:
    """What the second coupling engine says about the couplings of the first.

    Attributes:
        engines: The engines that answered, the one that is used first.
        same: Couplings of which both have the same units.
        refuted: Couplings that the second engine has otherwise, and that fail when cut so.
        note: Why the second engine gave no answer; empty where it did.
    """

    engines: tuple[str, ...]
    same: int = 0
    refuted: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Couplings:
    """All couplings of one network: those that may shrink, and those that may not."""

    free: tuple[Coupling, ...]
    frozen: tuple[FrozenCoupling, ...] = ()
    form: Form = "module"
    program: "Program | None" = field(default=None, compare=False, repr=False)
    """The captured graph, where index flow found the couplings."""
    agreement: Agreement | None = field(default=None, compare=False)
    """What a second engine says, where one was asked."""
    branches: tuple[Branch, ...] = field(default=(), compare=False)
    """Residual branches that may go as blocks; none unless they were asked for."""

    @property
    def num_units(self) -> int:
        """Units that may be removed."""
        return sum(coupling.num_units for coupling in self.free)

    def freeze(self, reasons: Mapping[str, str]) -> "Couplings":
        """The same couplings with those named in ``reasons`` frozen."""
        frozen = tuple(
            FrozenCoupling(coupling.name, coupling.num_units, reasons[coupling.name])
            for coupling in self.free
            if coupling.name in reasons
        )
        free = tuple(coupling for coupling in self.free if coupling.name not in reasons)
        branches = tuple(b for b in self.branches if not reasons.keys() & set(b.couplings))
        return replace(self, free=free, frozen=self.frozen + frozen, branches=branches)

    def everything(self) -> Structure:
        """The structure that keeps every unit."""
        return Structure({c.name: torch.ones(c.num_units, dtype=torch.bool) for c in self.free})


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; a shared one stands under each of its names."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def first_names(model: nn.Module) -> dict[str, str]:
    """For every name of a tensor the first of the names that this tensor has in ``model``."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name) for name, tensor in named_tensors(model).items()
    }


def tied_tensors(model: nn.Module) -> dict[str, str]:
    """Names of the tensors that several layers hold, each with another name of the same tensor.

    One layer under two names ties nothing: whatever is done to it is done once.
    """
    names: dict[int, list[str]] = defaultdict(list)
    for layer_name, layer in model.named_modules():
        prefix = f"{layer_name}." if layer_name else ""
        own = (*layer._parameters.items(), *layer._buffers.items())
        for attribute, tensor in own:
            if tensor is not None:
                names[id(tensor)].append(prefix + attribute)
    shared = [tied for tied in names.values() if len(tied) > 1]
    return {
        name: next(other for other in tied if other != name) for tied in shared for name in tied
    }


def gather(tensors: Mapping[str, Tensor], members: tuple[Member, ...]) -> Tensor:
    """The slices of several members side by side, shape ``(units, entries)``, a copy."""
    return torch.cat([member.rows(tensors[member.tensor].detach()) for member in members], dim=1)


def unit_norms(tensors: Mapping[str, Tensor], members: tuple[Member, ...]) -> Tensor:
    """2-norm of each unit over all given members together, shape ``(units,)``."""
    norms: Tensor = torch.linalg.vector_norm(gather(tensors, members), dim=1)
    return norms


def check_fit(couplings: Couplings, structure: Structure) -> None:
    """Raise unless ``structure`` has one entry per unit of each coupling and empties none.

    Only a coupling that lies in a removable branch may lose all of its units.

    Raises:
        StructureError: Names the first coupling that does not fit.
    """
    names = {coupling.name for coupling in couplings.free}
    if strangers := set(structure.keep) - names:
        raise StructureError(
            f"{min(strangers)}: the structure names a coupling that the network does not have. "
            "Use the structure with the network it was trained on."
        )
    for coupling in couplings.free:
        kept = structure.keep.get(coupling.name)
        if kept is None or kept.numel() != coupling.num_units:
            found = "none" if kept is None else str(kept.numel())
            raise StructureError(
                f"{coupling.name}: the structure is for {found} of its {coupling.num_units} units. "
                "Use the structure with the network it was trained on."
            )
        if not kept.any() and not any(coupling.name in b.couplings for b in couplings.branches):
            raise StructureError(
                f"{coupling.name}: the structure keeps none of its {coupling.num_units} units. "
                "Keep at least one, or raise strip.floor_share."
            )


@torch.no_grad()
def mask_(model: nn.Module, couplings: Couplings, structure: Structure) -> None:
    """Zero every member of every unit that is left out, in place.

    Filters, biases, scales, shifts and the slices that read the unit become zero, so the unit
    contributes exactly nothing. Running statistics stay: with zero scale they have no say. Branches
    that a coupling without units takes along are zero as a whole.
    """
    check_fit(couplings, structure)
    zero_branches_(model, dead_branches(couplings.branches, structure))
    structure = without_dead(couplings.branches, structure)
    tensors = named_tensors(model)
    for coupling in couplings.free:
        removed = ~structure.keep[coupling.name]
        for member in coupling.members:
            if member.kind != "statistic":
                member.zero_(tensors[member.tensor], removed)


def zero_branches_(model: nn.Module, branches: Sequence[Branch]) -> None:
    """Set the parameters that make ``branches`` zero to zero, in place."""
    tensors = named_tensors(model)
    for branch in branches:
        for name in branch.last:
            tensors[name].data = torch.zeros_like(tensors[name])

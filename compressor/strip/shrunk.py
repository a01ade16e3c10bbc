"""Couplings of a slim network, from those of the network it was cut from."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.strip.plan import StripPlan
from compressor.structure import Structure

Places = Mapping[tuple[str, int], Tensor]
"""By tensor and axis: positions before the cut of what is left, int64, ascending."""


def places_of(plan: StripPlan) -> dict[tuple[str, int], Tensor]:
    """What each cut of a plan leaves."""
    return {(cut.tensor, cut.axis): torch.tensor(cut.keep) for cut in plan.cuts}


def shrunk(couplings: Couplings, structure: Structure, plan: StripPlan) -> Couplings:
    """The couplings that ``plan``, made for ``structure``, leaves: the same with fewer units.

    Args:
        couplings: Of the network at full width; nothing of it in the form ``graph``.
        structure: What is kept; at least one unit of each coupling.
        plan: What ``make_plan`` made of both.
    """
    places = places_of(plan)
    free = tuple(_coupling(c, structure.keep[c.name], places) for c in couplings.free)
    return replace(couplings, free=free, program=None, branches=())


def _coupling(coupling: Coupling, kept: Tensor, places: Places) -> Coupling:
    members = tuple(_member(member, kept, places) for member in coupling.members)
    return Coupling(coupling.name, int(kept.sum()), members)


def _member(member: Member, kept: Tensor, places: Places) -> Member:
    index = member.index[kept]
    left = places.get((member.tensor, member.axis))
    # Other couplings may lie along the same axis, whose removed units move this one's.
    moved = index if left is None else torch.searchsorted(left, index)
    return Member(member.tensor, member.axis, moved, member.kind)

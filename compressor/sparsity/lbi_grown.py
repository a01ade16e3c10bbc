"""The state of DessiLBI for a network that has taken up units: old ones go on, new ones begin."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.sparsity.lbi_parts import Part
from compressor.sparsity.split_lbi import SplitLBI
from compressor.structure import NEVER

Sources = Callable[[str], tuple[Tensor, tuple[int, ...]]]
"""By name of a parameter: for each entry of the new network's the number of its entry (flat) in the
old one, or ``NEVER``; and the shape of the old one."""


def grown_state(
    old: SplitLBI,
    new: SplitLBI,
    sources: Sources,
    units: Mapping[str, tuple[Tensor, Tensor]],
) -> dict[str, Any]:
    """The state of ``old``, of a narrower network, for ``new``, attached to a wider one.

    Args:
        old: At level ``unit``.
        new: At level ``unit`` too.
        sources: Where the entries of the wider network's parameters were in the narrower one.
        units: By coupling: places of the units that both have, in the old and in the new one.
    """
    before, after = old.state_dict(), new.state_dict()
    olds, news = old.parts(), new.parts()
    twins = {
        name: grown_twin(
            state, before["twins"][name], (olds[name], news[name]), sources, units[name]
        )
        for name, state in after["twins"].items()
    }
    return {**before, "twins": twins}


def grown_twin(
    fresh: Mapping[str, Any],
    old: Mapping[str, Any],
    parts: tuple[Sequence[Part], Sequence[Part]],
    sources: Sources,
    units: tuple[Tensor, Tensor],
) -> dict[str, Any]:
    """State of the twin of one coupling; Z of what is new is zero, and it has not entered.

    Args:
        fresh: State of the twin of the new network, before its first step.
        old: State of the twin of the old network.
        parts: Where the groups lie in the old network, and in the new one.
        sources: Where the entries of the new parameters were.
        units: Places of the units that both have, among the old ones and among the new ones.
    """
    duals = [
        grown_dual(new_z, old_z, places, *sources(places[1].tensor))
        for new_z, old_z, *places in zip(fresh["dual"], old["dual"], *parts, strict=True)
    ]
    steps, times = fresh["entry_step"].clone().cpu(), fresh["entry_time"].clone().cpu()
    places_before, places_now = units
    steps[places_now] = old["entry_step"].cpu()[places_before]
    times[places_now] = old["entry_time"].cpu()[places_before]
    return {
        **old,
        "dual": duals,
        "entry_step": steps,
        "entry_time": times,
    }


def grown_dual(
    new: Tensor, old: Tensor, parts: Sequence[Part], source: Tensor, shape: tuple[int, ...]
) -> Tensor:
    """Z of one part of the new network: that of the old one at its places, zero elsewhere.

    Args:
        new: Fresh Z, whose shape is that of the new part.
        old: Z of the old part.
        parts: The old part and the new one.
        source: For each entry of the new parameter its number in the old one, or ``NEVER``.
        shape: Of the old parameter.
    """
    before, after = parts
    num_old = math.prod(shape)
    # Through the parameters, since a part may gather entries in an order of its own.
    own = before.of(torch.arange(num_old).view(shape))
    flat = torch.zeros(num_old, dtype=new.dtype)
    flat[own.flatten()] = old.cpu().flatten().to(new.dtype)
    wanted = after.of(source)
    known = wanted != NEVER
    grown = torch.zeros(wanted.shape, dtype=new.dtype)
    grown[known] = flat[wanted[known]]
    return grown

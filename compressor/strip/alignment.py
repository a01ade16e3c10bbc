"""Widths in channels: how many units of a coupling make a multiple, and what is one in the end.

Engines see channels. A unit may stand for several of them: a head of attention, a group, an entry
of every head. So the step of a coupling in units is what makes a multiple of channels.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from compressor.couplings.coupling import Coupling, Couplings
from compressor.strip.cost import Cost
from compressor.strip.target import LEAST
from compressor.structure import Structure


def blocks_of(coupling: Coupling, weights: Collection[str]) -> list[int]:
    """Channels that one unit has along each of ``weights`` that the coupling cuts, ascending.

    Parameters that are not multiplied say nothing: a bias table of attention has one entry for a
    head where the weights have many.
    """
    cut = {member.index.shape[1] for member in coupling.members if member.tensor in weights}
    return sorted(cut) or [1]


def unit_step(coupling: Coupling, weights: Collection[str], multiple: int) -> int:
    """Units of a step, so that every one of ``weights`` gets a multiple of ``multiple`` channels.

    A coupling with fewer channels than one multiple has steps of four channels.

    Args:
        coupling: The coupling.
        weights: Names of the parameters that are multiplied.
        multiple: Channels, >= 1.
    """
    blocks = blocks_of(coupling, weights)
    if coupling.num_units * blocks[0] < multiple:
        multiple = min(multiple, LEAST)
    return math.lcm(*(multiple // math.gcd(multiple, block) for block in blocks))


@dataclass(frozen=True)
class Alignment:
    """How much of a network is aligned.

    Attributes:
        multiple: Channels that widths should be multiples of.
        num_weights: Weights that a coupling cuts.
        num_aligned: Those of them whose widths along all cut axes are multiples.
        macs_share: Share of the MACs of all of them in those, in [0, 1]; 1 where there are none.
        odd: Couplings with a number of channels that is no multiple of four.
    """

    multiple: int
    num_weights: int
    num_aligned: int
    macs_share: float
    odd: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the weights that are aligned, in [0, 1]; 1 where nothing is cut."""
        return self.num_aligned / self.num_weights if self.num_weights else 1.0

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "multiple": self.multiple,
            "weights": self.num_weights,
            "aligned": self.num_aligned,
            "share": self.share,
            "macs_share": self.macs_share,
            "not_multiples_of_four": list(self.odd),
        }


def alignment(cost: Cost, couplings: Couplings, structure: Structure, multiple: int) -> Alignment:
    """How much of the slim network of ``structure`` is aligned to ``multiple`` channels.

    Only axes that a coupling cuts count: those of images and classes are as they are.
    """
    removed = {name: kept.numel() - int(kept.sum()) for name, kept in structure.keep.items()}
    macs = {True: 0.0, False: 0.0}
    numbers = {True: 0, False: 0}
    for weight, uses in cost.macs_per_entry.items():
        left = cost.sizes_left(weight, removed)
        cut = [left[axis] for axis in cost.cut_axes.get(weight, {})]
        if cut and all(cut):
            aligned = all(size % multiple == 0 for size in cut)
            numbers[aligned] += 1
            macs[aligned] += uses * math.prod(left)
    total = sum(macs.values())
    return Alignment(
        multiple,
        sum(numbers.values()),
        numbers[True],
        macs[True] / total if total else 1.0,
        tuple(c.name for c in couplings.free if _is_odd(c, cost, structure)),
    )


def _is_odd(coupling: Coupling, cost: Cost, structure: Structure) -> bool:
    kept = int(structure.keep[coupling.name].sum())
    return bool(kept * blocks_of(coupling, cost.macs_per_entry)[0] % LEAST)


def channels(coupling: Coupling, cost: Cost, units: int) -> int:
    """Channels that so many units of the coupling are, in the narrowest weight that it cuts."""
    return units * blocks_of(coupling, cost.macs_per_entry)[0]

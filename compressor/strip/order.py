"""What a unit is worth to the solver: rules that turn a path into an order over all couplings.

Two questions are apart here. Which units of a coupling go first is the *order*. How much of each
coupling goes, while others stay, is the rule of the *widths*, and matters more. A rule of the
widths is a falling profile for each coupling: what its best unit is worth, its second best, and so
on; the order says which units these are. Then one cut goes through all couplings.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from compressor.errors import StructureError
from compressor.structure import NEVER, Path, UnitPath

Order = Literal["score", "entry", "dual", "filter", "scale", "random"]
"""What ranks the units of one coupling."""

Widths = Literal["cut", "raw", "score", "half", "entries", "entries-per-mac", "uniform", "per-mac"]
"""What decides how much of each coupling stays."""

FACTORS = ("dual", "filter", "scale")
"""Orders that are one factor of the score, which the path holds by that name."""


@dataclass(frozen=True)
class Ranked:
    """One coupling as the rules see it.

    Attributes:
        values: What the order makes of its units, float64, shape ``(units,)``; larger is first.
        path: Its part of the path.
        unit_macs: MACs that one unit has, over the mean of all couplings.
        last_time: When the last unit of any coupling entered.
    """

    values: Tensor
    path: UnitPath
    unit_macs: float
    last_time: float


def worths(
    path: Path, order: Order, widths: Widths, unit_macs: Mapping[str, float]
) -> dict[str, Tensor]:
    """What each unit is worth, comparable over all couplings; float64, shape ``(units,)`` each.

    Args:
        path: Of one run.
        order: What ranks the units inside a coupling.
        widths: What decides how much of each coupling stays.
        unit_macs: MACs of one unit, of each coupling, in any measure.

    Raises:
        StructureError: The path has not what the rules need.
    """
    if widths in BY_ENTRIES:
        _check_entries(path, f'strip.widths is "{widths}"', "cut")
    mean = sum(unit_macs.values()) / max(1, len(unit_macs))
    last = _last_time(path)
    ranked = {
        name: Ranked(order_values(path, name, order), units, unit_macs[name] / mean, last)
        for name, units in path.couplings.items()
    }
    profile = PROFILES[widths]
    return {name: _spread(profile(coupling), coupling.values) for name, coupling in ranked.items()}


def order_values(path: Path, name: str, order: Order) -> Tensor:
    """What ranks the units of one coupling, float64; larger is kept first.

    A coupling without the factor that the order names, where others have it, goes by its score.

    Raises:
        StructureError: No unit of the path has entered, or it was walked by a method whose score
            has no such factor.
    """
    units = path.couplings[name]
    if order == "score":
        return units.score.double()
    if order == "random":
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        return torch.rand(units.score.shape, generator=generator, dtype=torch.float64)
    if order == "entry":
        _check_entries(path, 'strip.order is "entry"', "score")
        return entry_values(units, path.last_entry)
    if order in units.factors:
        return units.factors[order].double()
    if any(order in other.factors for other in path.couplings.values()):
        # Couplings without norms have no scale: their score holds all that is known.
        return units.score.double()
    raise StructureError(
        f'strip.order is "{order}", and the path of {path.method} holds no such factor. '
        'Take "score", or search again with dessilbi at level "unit".'
    )


def _check_entries(path: Path, asked: str, other: str) -> None:
    if path.last_entry == NEVER:
        raise StructureError(
            f"{asked}, and no unit entered on the path of {path.method}. "
            f'Take "{other}", or search with dessilbi for longer.'
        )


def _last_time(path: Path) -> float:
    """When the last unit entered; 0 where none has."""
    times = [units.entry_time[units.entry_time.isfinite()] for units in path.couplings.values()]
    return max((float(some.max()) for some in times if len(some)), default=0.0)


def entry_values(units: UnitPath, last: int) -> Tensor:
    """One, and the share of the path that was left when a unit entered; what never did by score.

    That is between zero and one, in every coupling alike, whether all of its units entered or none.
    Units that entered at the same step are told apart by score, less than a step is worth.
    """
    rank = _score_places(units)
    entered = units.entry_step != NEVER
    left = (last - units.entry_step.double() + rank) / max(1, last)
    return torch.where(entered, 1 + left, rank)


def _score_places(units: UnitPath) -> Tensor:
    """Place of each unit by score, from 1 for the best down in equal steps, above 0; float64."""
    return 1 - _falling_ranks(units.score) / max(1, len(units))


def _falling_ranks(values: Tensor) -> Tensor:
    """Place of each unit, 0 for the largest; ties in their order. float64."""
    ranks = torch.empty(len(values), dtype=torch.float64)
    ranks[values.argsort(descending=True, stable=True)] = torch.arange(
        len(values), dtype=torch.float64
    )
    return ranks


def _spread(profile: Tensor, values: Tensor) -> Tensor:
    """The profile's first value to the unit with the largest value, and so on."""
    falling = profile.sort(descending=True).values
    return falling[_falling_ranks(values).long()]


def relative(values: Tensor) -> Tensor:
    """Values, none below zero, over their mean; zeros stay zero."""
    mean = float(values.mean()) if len(values) else 0.0
    return values / mean if mean > 0 else values


def even(number: int) -> Tensor:
    """Values from 1 down in equal steps, mean near a half: the same share of every coupling."""
    return 1 - torch.arange(number, dtype=torch.float64) / max(1, number)


def _of_order(coupling: Ranked) -> Tensor:
    return relative(coupling.values)


def _raw(coupling: Ranked) -> Tensor:
    return coupling.values


def _of_score(coupling: Ranked) -> Tensor:
    return relative(coupling.path.score.double())


def _half(coupling: Ranked) -> Tensor:
    score = _of_score(coupling).sort(descending=True).values
    between: Tensor = torch.sqrt(score * 2 * even(len(score)))
    return between


def _entries(coupling: Ranked) -> Tensor:
    times = coupling.path.entry_time
    # As if what never entered did so after the end, so that it is not all the same.
    after = _score_places(coupling.path) / (2 + coupling.last_time)
    return torch.where(times.isfinite(), (1 + times).reciprocal(), after)


def _entries_per_mac(coupling: Ranked) -> Tensor:
    return _entries(coupling) / math.sqrt(coupling.unit_macs)


def _uniform(coupling: Ranked) -> Tensor:
    return even(len(coupling.values))


def _per_mac(coupling: Ranked) -> Tensor:
    return _of_score(coupling) / math.sqrt(coupling.unit_macs)


PROFILES: Mapping[Widths, Callable[[Ranked], Tensor]] = {
    "cut": _of_order,
    "raw": _raw,
    "score": _of_score,
    "half": _half,
    "entries": _entries,
    "entries-per-mac": _entries_per_mac,
    "uniform": _uniform,
    "per-mac": _per_mac,
}
"""What the units of a coupling are worth by their places, before the order says which is where."""

BY_ENTRIES: tuple[Widths, ...] = ("entries", "entries-per-mac")
"""Rules that need units to have entered."""

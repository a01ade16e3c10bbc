"""Widths that fill a budget: in the order of the scores, then exchanged until it is full enough."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.strip.table import CostTable, Floats, Ints

TOLERANCE = 0.02
"""How far below its budget a network may end, as a share of the budget."""

MAX_EXCHANGES = 10
"""Exchanges after which what was reached is returned."""

MAX_TAKEN = 64
"""Of so many couplings, those whose last step has the lowest score, that step is taken back."""

MAX_FIRST = 4
"""Of so many steps that fit, the most costly ones, each is granted before the others."""

MAX_REFILL = 50
"""Steps granted at most in place of those taken back; more of them are no exchange."""

SMALL = 1e-9
"""Weight of a score beside a distance between widths: it breaks ties."""

MAX_SEARCHED, MAX_CHOICES = 9, 20_000
"""So many couplings are searched together at last, and so many choices of their widths."""


@dataclass(frozen=True)
class Ladder:
    """The widths that couplings may have: a floor, and steps above it.

    A coupling that may lose all of its units has the floor zero, and its first step is the floor of
    others; one that has lost them has no step.

    Attributes:
        units: Units of each coupling.
        floors: Fewest units of each.
        firsts: Units of the first step of each.
        tops: Most units of each.
        steps: Units of each later step; the last one of a coupling may be smaller.
        means: For each coupling the mean scores of its steps, best first.
        worths: For each coupling the sum of the scores that no, one, two ... steps grant.
    """

    units: Ints
    floors: Ints
    firsts: Ints
    tops: Ints
    steps: Ints
    means: tuple[Floats, ...]
    worths: tuple[Floats, ...]

    @classmethod
    def of(
        cls,
        scores: Sequence[Floats],
        floors: Sequence[int],
        steps: int | Sequence[int],
        optional: Collection[int] = (),
        closed: Collection[int] = (),
    ) -> "Ladder":
        """The ladder of couplings with these ``scores``, one for each unit.

        Args:
            scores: Scores of the units of each coupling.
            floors: Fewest units of each that has any.
            steps: Units of a step, of each coupling or of all.
            optional: Couplings, by number, that may lose all of their units.
            closed: Couplings, by number, that have lost them.
        """
        units = np.array([len(score) for score in scores], dtype=np.int64)
        lows, tops = np.array(floors, dtype=np.int64), units.copy()
        strides = np.broadcast_to(np.array(steps, dtype=np.int64), units.shape)
        firsts = strides.copy()
        firsts[list(optional)] = lows[list(optional)]
        lows[[*optional, *closed]] = 0
        tops[list(closed)] = 0
        means, worths = [], []
        for score, low, first, stride, top in zip(scores, lows, firsts, strides, tops, strict=True):
            above = np.sort(score)[::-1][low:top]
            starts = np.append(0, np.arange(first, len(above), stride))
            sums = np.add.reduceat(above, starts) if len(above) else above
            means.append(sums / np.diff(np.append(starts, len(above))) if len(above) else above)
            worths.append(np.cumsum([0.0, *sums]))
        return cls(units, lows, firsts, tops, strides, tuple(means), tuple(worths))

    def widths(self, levels: Ints) -> Ints:
        """Units of each coupling after so many steps."""
        above = np.where(levels > 0, self.firsts + (levels - 1) * self.steps, 0)
        widths: Ints = np.minimum(self.floors + above, self.tops)
        return widths

    def removed(self, levels: Ints) -> Ints:
        """Units that each coupling loses after so many steps."""
        removed: Ints = self.units - self.widths(levels)
        return removed

    def mean(self, coupling: int, step: int) -> float:
        """Mean score of the units of a step."""
        return float(self.means[coupling][step])

    def worth(self, levels: Ints) -> float:
        """Sum of the scores of all units that so many steps grant."""
        return sum(float(w[level]) for w, level in zip(self.worths, levels, strict=True))

    def distances(self, levels: Ints, base: Ints) -> Floats:
        """How far widths are from those of ``base``: shares of the units, over all couplings.

        Args:
            levels: Shape ``(..., couplings)``.
            base: Shape ``(couplings,)``.
        """
        away = np.abs(self.widths(levels) - self.widths(base)) / self.units
        summed: Floats = away.sum(axis=-1)
        return summed


def fill(table: CostTable, ladder: Ladder, allowed: float) -> Ints:
    """Units of each coupling, at most ``allowed`` in cost; the floors must be within it.

    Steps are granted in the order of their mean scores, and one that no longer fits is passed over,
    so that smaller ones behind it can fill what is left. If that ends more than ``TOLERANCE`` below
    what is allowed, one granted step is exchanged for others, and if that is not enough, all widths
    of a few couplings are tried: of what comes close enough the widths nearest to those that the
    order of the scores gave, else what comes closest, until nothing comes closer. Not the largest
    sum of scores: that would buy many cheap units of late layers for the few dear ones of early
    layers, and starve these. The same arguments give the same widths.
    """
    now = _exchange(table, ladder, _granted(table, ladder, allowed))
    for _ in range(MAX_EXCHANGES):
        if _is_close(now, allowed):
            break
        best = _best_exchange(table, ladder, now.levels, allowed)
        if best is None or best.reached <= now.reached:
            break
        now = best
    return ladder.widths(now.levels)


def grant(table: CostTable, ladder: Ladder, allowed: float) -> Ints:
    """Units of each coupling after the order of the scores alone, nothing exchanged."""
    return ladder.widths(_granted(table, ladder, allowed))


def _granted(table: CostTable, ladder: Ladder, allowed: float) -> Ints:
    """Steps of each coupling when they are granted one after the other, as long as they fit."""
    number = len(ladder.means)
    owners = np.repeat(np.arange(number), [len(means) for means in ladder.means])
    order = owners[np.argsort(-np.concatenate([*ladder.means, []]), kind="stable")]
    levels = np.zeros(number, dtype=np.int64)

    def after(num_steps: int) -> Ints:
        return levels + np.bincount(order[:num_steps], minlength=number)

    while len(order):
        num_fitting = _last(lambda n: table.cost(ladder.removed(after(n))) <= allowed, len(order))
        levels = after(num_fitting)
        order = order[num_fitting:]
        # A step never becomes cheaper while others are granted, so this coupling has its width.
        order = order[order != order[0]] if len(order) else order
    return levels


def _last(fits: Callable[[int], bool], end: int) -> int:
    """Largest number up to ``end`` that ``fits``, as all below it do; zero fits.

    Found by doubling first, since it is mostly small.
    """
    low, step = 0, 1
    while low + step <= end and fits(low + step):
        low, step = low + step, 2 * step
    high = min(low + step, end + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class _Exchange:
    """Levels after an exchange, their cost, and the sum of scores that they grant."""

    levels: Ints
    reached: float
    worth: float


def _exchange(table: CostTable, ladder: Ladder, levels: Ints) -> _Exchange:
    return _Exchange(levels, table.cost(ladder.removed(levels)), ladder.worth(levels))


def _is_close(exchange: _Exchange, allowed: float) -> bool:
    return (1 - TOLERANCE) * allowed <= exchange.reached <= allowed


def _best_exchange(
    table: CostTable, ladder: Ladder, levels: Ints, allowed: float
) -> _Exchange | None:
    """The best exchange of one step, or of all if one is not enough; None where there is none."""
    granted: list[int] = np.flatnonzero(levels).tolist()
    granted.sort(key=lambda coupling: ladder.mean(coupling, int(levels[coupling]) - 1))
    found = [
        _exchange(table, ladder, exchanged)
        for coupling in granted[:MAX_TAKEN]
        for exchanged in _exchanged(table, ladder, levels, coupling, allowed)
    ]
    if not any(_is_close(exchange, allowed) for exchange in found):
        searched = _searched(table, ladder, levels, allowed)
        found.append(_exchange(table, ladder, searched))
    close = [exchange for exchange in found if _is_close(exchange, allowed)]
    if close:
        return min(
            close, key=lambda e: (float(ladder.distances(e.levels, levels)), -e.worth, -e.reached)
        )
    below = [exchange for exchange in found if exchange.reached <= allowed]
    return max(below, key=lambda exchange: (exchange.reached, exchange.worth), default=None)


def _exchanged(
    table: CostTable, ladder: Ladder, levels: Ints, taken: int, allowed: float
) -> Iterator[Ints]:
    """A step taken back from one coupling; others granted: the best, or a large one first."""
    below = levels.copy()
    below[taken] -= 1
    others = np.arange(len(levels)) != taken
    starts = [below]
    rises = _fitting_rises(table, ladder, below, allowed) * others
    for coupling in np.argsort(-rises, kind="stable")[:MAX_FIRST]:
        if rises[coupling] > 0:
            starts.append(below.copy())
            starts[-1][coupling] += 1
    for start in starts:
        # Only then the one that was taken back, or this would be no exchange.
        refilled = _refilled(table, ladder, start, others, allowed)
        yield _refilled(table, ladder, refilled, ~others, allowed)


def _searched(table: CostTable, ladder: Ladder, levels: Ints, allowed: float) -> Ints:
    """The best of all widths of a few couplings around those they have, then refilled.

    Taken are the couplings with the largest steps, and as many steps up and down as there is time
    for: in a small network all of them.
    """
    steps = table.rises(ladder.units - ladder.floors, ladder.steps)
    few = np.argsort(-steps, kind="stable")[:MAX_SEARCHED]
    heights = np.array([len(ladder.means[coupling]) for coupling in few])
    around = _around(levels[few], heights)
    choices = np.stack([axis.ravel() for axis in np.meshgrid(*around, indexing="ij")], axis=1)
    candidates = np.tile(levels, (len(choices), 1))
    candidates[:, few] = choices
    costs = table.costs(ladder.removed(candidates))
    costs[costs > allowed] = -np.inf
    worths = sum(ladder.worths[c][candidates[:, c]] for c in few)
    close = costs >= (1 - TOLERANCE) * allowed
    # The worth only decides between equally near ones.
    nearness = -ladder.distances(candidates, levels) + SMALL * worths
    best = int(np.where(close, nearness, -np.inf).argmax() if close.any() else costs.argmax())
    return _refilled(table, ladder, candidates[best], np.ones(len(levels), dtype=bool), allowed)


def _around(levels: Ints, heights: Ints) -> list[Ints]:
    """For each coupling the levels to try: as far up and down as ``MAX_CHOICES`` lets all go."""
    around = [levels[number : number + 1] for number in range(len(levels))]
    for reach in range(1, int(heights.max(initial=0)) + 1):
        wider = [
            np.arange(max(0, level - reach), min(height, level + reach) + 1)
            for level, height in zip(levels, heights, strict=True)
        ]
        if math.prod(len(choices) for choices in wider) > MAX_CHOICES:
            break
        around = wider
    return around


def _refilled(
    table: CostTable, ladder: Ladder, levels: Ints, among: NDArray[np.bool_], allowed: float
) -> Ints:
    """``levels`` with steps of ``among`` granted, each time the best that fits."""
    levels = levels.copy()
    for _ in range(MAX_REFILL):
        fitting = np.flatnonzero((_fitting_rises(table, ladder, levels, allowed) > 0) & among)
        if not len(fitting):
            break
        means = [ladder.mean(coupling, levels[coupling]) for coupling in fitting.tolist()]
        levels[fitting[int(np.argmax(means))]] += 1
    return levels


def _fitting_rises(table: CostTable, ladder: Ladder, levels: Ints, allowed: float) -> Floats:
    """Cost of the next step of each coupling; zero where there is none or it does not fit."""
    added = ladder.widths(levels + 1) - ladder.widths(levels)
    removed = ladder.removed(levels)
    rises = table.rises(removed, added)
    return np.where(table.cost(removed) + rises <= allowed, rises, 0.0)

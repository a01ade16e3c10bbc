"""A path and a budget -> the structure: which units a slim network of the asked size keeps.

Units are ranked over all couplings at once by what they are worth (`order.py`). No coupling falls
below its floor, since one cut over everything otherwise empties single layers and ruins the
network.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compressor.couplings.branch import without_dead
from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import BudgetError, StructureError
from compressor.strip.alignment import unit_step
from compressor.strip.cost import Cost as Cost
from compressor.strip.fill import Ladder, fill, grant
from compressor.strip.order import worths
from compressor.strip.settings import Depth as Depth
from compressor.strip.settings import StripSettings as StripSettings
from compressor.strip.table import CostTable
from compressor.structure import Path, Structure


@dataclass(frozen=True)
class Budget:
    """What a slim network may cost.

    Attributes:
        table: Cost by the free couplings, in their order.
        share: Share of the dense network's cost, in (0, 1].
        word: What is counted, for people.
    """

    table: CostTable
    share: float
    word: str

    @classmethod
    def of(cls, couplings: Couplings, cost: Cost, settings: StripSettings) -> "Budget | None":
        """The budget of ``settings`` if it is of MACs or parameters, which need no measurement."""
        names = [coupling.name for coupling in couplings.free]
        if settings.keep_macs is not None:
            return cls(cost.macs_table(names), settings.keep_macs, "MACs")
        if settings.keep_params is not None:
            return cls(cost.params_table(names), settings.keep_params, "parameters")
        return None

    def reached(self, couplings: Couplings, structure: Structure) -> float:
        """Share of the dense network's cost that ``structure`` keeps."""
        removed = removed_units(structure)
        lost = np.array([removed[coupling.name] for coupling in couplings.free], dtype=np.int64)
        return self.table.cost(lost) / self.table.cost(lost * 0)


def solve(
    couplings: Couplings,
    cost: Cost,
    path: Path,
    support: Structure,
    settings: StripSettings,
    budget: Budget | None = None,
) -> Structure:
    """The structure that ``settings`` asks for, its units in the order of ``path``.

    Without a budget the support stays whole, and the best units outside fill it up to its floor and
    to ``round_to``. A removable branch goes when any of its couplings has no support or, with a
    budget, when the floor of any of them is not granted in the order of the scores.

    Args:
        couplings: Those of the network.
        cost: Its cost.
        path: The order of the units.
        support: What is kept without a budget.
        settings: What is asked for, ``round_to`` a number.
        budget: In place of that of ``settings``; needed if that is one of time.

    Raises:
        BudgetError: The budget is below what the floors alone cost.
        StructureError: The path or the support is not one of these couplings.
    """
    scores = _worths(couplings, cost, path, settings)
    steps = steps_of(couplings, cost, settings)
    floors = {c.name: floor_of(c, settings, steps[c.name]) for c in couplings.free}
    budget = budget or Budget.of(couplings, cost, settings)
    if budget is None:
        assert not settings.in_time, "a budget in time is measured and then given"
        widths = _rounded_support(couplings, support, floors, steps)
        scores = {
            name: torch.where(support.keep[name], torch.inf, score)
            for name, score in scores.items()
        }
    else:
        widths = _widths_in_budget(couplings, scores, (floors, steps), settings, budget)
    return without_dead(couplings.branches, best_units(scores, widths))


def floor_structure(
    couplings: Couplings, cost: Cost, path: Path, settings: StripSettings
) -> Structure:
    """The least that ``settings`` let any budget keep: every coupling at its floor."""
    steps, inside = steps_of(couplings, cost, settings), _inside_branches(couplings)
    widths = {
        c.name: 0 if c.name in inside else floor_of(c, settings, steps[c.name])
        for c in couplings.free
    }
    scores = _worths(couplings, cost, path, settings)
    return without_dead(couplings.branches, best_units(scores, widths))


def _worths(
    couplings: Couplings, cost: Cost, path: Path, settings: StripSettings
) -> dict[str, Tensor]:
    """What each unit is worth, by the rules that ``settings`` name."""
    _check_scores(couplings, path.scores())
    unit_macs = {c.name: cost.macs({}) - cost.macs({c.name: 1}) for c in couplings.free}
    return worths(path, settings.order, settings.widths, unit_macs)


def _check_scores(couplings: Couplings, scores: Mapping[str, Tensor]) -> None:
    units = {coupling.name: coupling.num_units for coupling in couplings.free}
    if {name: score.numel() for name, score in scores.items()} != units:
        raise StructureError(
            f"The path ranks {sum(score.numel() for score in scores.values())} units in "
            f"{len(scores)} couplings, the network has {sum(units.values())} in {len(units)}, or "
            "other ones. Use the path with the network it was walked on."
        )
    for name, score in scores.items():
        if not score.isfinite().all():
            raise StructureError(
                f"{name}: the path holds a score that is not a finite number. "
                "Train again with a smaller rate; this run has diverged."
            )


def _rounded_support(
    couplings: Couplings,
    support: Structure,
    floors: Mapping[str, int],
    steps: Mapping[str, int],
) -> dict[str, int]:
    widths = {}
    for coupling in couplings.free:
        kept = support.keep.get(coupling.name)
        if kept is None or kept.numel() != coupling.num_units:
            raise StructureError(
                f"{coupling.name}: the support is not one of its {coupling.num_units} units. "
                "Use the structure with the network it was trained on."
            )
        wanted = max(floors[coupling.name], round_up(int(kept.sum()), steps[coupling.name]))
        widths[coupling.name] = min(coupling.num_units, wanted)
        if coupling.name in _inside_branches(couplings) and not kept.any():
            widths[coupling.name] = 0
    return widths


def _inside_branches(couplings: Couplings) -> frozenset[str]:
    """Couplings that may lose all of their units."""
    return frozenset(name for branch in couplings.branches for name in branch.couplings)


def steps_of(couplings: Couplings, cost: Cost, settings: StripSettings) -> dict[str, int]:
    """For each coupling the units that make a multiple of ``round_to`` channels."""
    weights = cost.macs_per_entry
    return {c.name: unit_step(c, weights, settings.multiple) for c in couplings.free}


def floor_of(coupling: Coupling, settings: StripSettings, step: int) -> int:
    """Fewest units that the coupling keeps: its floor share, up to whole steps, at most all."""
    floor = max(1, math.ceil(coupling.num_units * settings.floor_share))
    return min(coupling.num_units, round_up(floor, step))


def round_up(width: int, multiple: int) -> int:
    """Smallest multiple of ``multiple`` that is at least ``width``."""
    return -(-width // multiple) * multiple


def best_units(scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> Structure:
    """In each coupling the given number of units with the largest scores; ties to the first."""
    keep = {}
    for name, score in scores.items():
        keep[name] = torch.zeros(score.numel(), dtype=torch.bool)
        keep[name][score.argsort(descending=True, stable=True)[: widths[name]]] = True
    return Structure(keep)


def _widths_in_budget(
    couplings: Couplings,
    scores: Mapping[str, Tensor],
    limits: tuple[Mapping[str, int], Mapping[str, int]],
    settings: StripSettings,
    budget: Budget,
) -> dict[str, int]:
    """Widths that fill the budget without passing it; ``limits`` are floors and steps."""
    names = [coupling.name for coupling in couplings.free]
    table = budget.table
    values = [scores[name].double().numpy() for name in names]
    least_units, steps = ([limit[name] for name in names] for limit in limits)
    inside = [number for number, name in enumerate(names) if name in _inside_branches(couplings)]
    ladder = Ladder.of(values, least_units, steps, optional=inside)
    whole = table.cost(ladder.units * 0)
    allowed = budget.share * whole
    if (least := table.cost(ladder.units - ladder.floors)) > allowed:
        bare = table.cost(ladder.units - 1)
        raise BudgetError(
            f"The budget keeps {budget.share:g} of the {budget.word}, but the floors alone "
            f"cost {least / whole:.3f}. {way_out(settings, budget.share, bare / whole)}",
            floor=least / whole,
        )
    if inside:
        # First which branches go, in the order of the scores; then the widths without these.
        first = dict(zip(names, grant(table, ladder, allowed).tolist(), strict=True))
        closed = without_dead(couplings.branches, best_units(scores, first)).widths()
        closed_numbers = [number for number in inside if not closed[names[number]]]
        ladder = Ladder.of(values, least_units, steps, closed=closed_numbers)
    return dict(zip(names, fill(table, ladder, allowed).tolist(), strict=True))


def way_out(settings: StripSettings, share: float, bare: float) -> str:
    """What to do about floors that are above the budget; ``bare`` is the cost of one unit each."""
    if bare > share:
        return (
            f"Even one unit of each coupling costs {bare:.3f}, for the rest cannot be removed. "
            "Raise the budget, or take layers off strip.keep and strip.freeze."
        )
    return (
        f"Raise the budget, or lower strip.floor_share ({settings.floor_share:g}) or "
        f"strip.round_to ({settings.round_to})."
    )


def removed_units(structure: Structure) -> dict[str, int]:
    """Units that each coupling loses."""
    return {name: kept.numel() - int(kept.sum()) for name, kept in structure.keep.items()}

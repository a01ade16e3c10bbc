"""A path and a budget -> the structure: which units a slim network of the asked size keeps.

Units are ranked by score over all couplings at once. A coupling's score is first divided by its own
mean, since raw scores of different couplings are not comparable, and no coupling falls below its
floor, since one cut over everything otherwise empties single layers and ruins the network.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from compressor.couplings.branch import without_dead
from compressor.couplings.coupling import Coupling, Couplings, Engine, Heads
from compressor.errors import BudgetError, StructureError
from compressor.settings import Settings
from compressor.strip.certificate import Statistics
from compressor.strip.cost import Cost as Cost
from compressor.strip.fill import TOLERANCE, Ladder, fill, grant
from compressor.strip.table import Table
from compressor.structure import Path, Structure

Depth = Literal["keep", "remove"]
"""Whether residual branches may go as blocks."""


class StripSettings(Settings):
    """What the slim network may cost. At most one budget; without one the support is kept as it is.

    A budget never keeps more than it says, and where widths allow it at most 2 % less.
    """

    keep_macs: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's MACs that the slim one may use."""
    keep_params: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's parameters that the slim one may have."""
    floor_share: float = Field(default=0.1, ge=0, le=1)
    """Share of its units that every coupling keeps at least; one unit in any case."""
    round_to: int = Field(default=8, ge=1)
    """Widths are multiples of this (or the whole width): engines are slow at odd ones."""

    depth: Depth = "keep"
    """With ``remove`` a coupling that lies whole inside a removable residual branch may lose all of
    its units. The branch then goes as a block, its last norm or layer with it: the masked network
    of the certificate has that at zero. The slim network is the captured graph."""
    engine: Engine = "both"
    """What finds couplings: index flow checked by torch-pruning, or one of the two alone."""
    heads: Heads = "whole"
    """What may leave attention: whole heads, or the same entries of every head."""
    statistics: Statistics = "trained"
    """Norms of the network that the certificate compares: as trained, or at random, which shows a
    mistake that norms near the identity would hide."""
    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    keep: tuple[str, ...] = Field(default=(), strict=False)
    """Layers that keep all of their outputs, by name or glob; what reads them may still shrink."""
    freeze: tuple[str, ...] = Field(default=(), strict=False)
    """Layers of which nothing is removed, neither outputs nor inputs, by name or glob."""

    @model_validator(mode="after")
    def _one_budget(self) -> "StripSettings":
        if self.keep_macs is not None and self.keep_params is not None:
            raise ValueError(
                f"keep_macs = {self.keep_macs} and keep_params = {self.keep_params} are two "
                "budgets; give one"
            )
        return self


def solve(
    couplings: Couplings, cost: Cost, path: Path, support: Structure, settings: StripSettings
) -> Structure:
    """The structure that ``settings`` asks for, its units in the order of ``path``.

    Without a budget the support stays whole, and the best units outside fill it up to its floor and
    to ``round_to``. A removable branch goes when any of its couplings has no support or, with a
    budget, when the floor of any of them is not granted in the order of the scores.

    Raises:
        BudgetError: The budget is below what the floors alone cost.
        StructureError: The path or the support is not one of these couplings.
    """
    scores = path.scores()
    _check_scores(couplings, scores)
    floors = {c.name: floor_of(c, settings) for c in couplings.free}
    if settings.keep_macs is None and settings.keep_params is None:
        widths = _rounded_support(couplings, support, floors, settings.round_to)
        scores = {
            name: torch.where(support.keep[name], torch.inf, score)
            for name, score in scores.items()
        }
    else:
        widths = _widths_in_budget(couplings, cost, scores, floors, settings)
    return without_dead(couplings.branches, best_units(scores, widths))


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
    couplings: Couplings, support: Structure, floors: Mapping[str, int], multiple: int
) -> dict[str, int]:
    widths = {}
    for coupling in couplings.free:
        kept = support.keep.get(coupling.name)
        if kept is None or kept.numel() != coupling.num_units:
            raise StructureError(
                f"{coupling.name}: the support is not one of its {coupling.num_units} units. "
                "Use the structure with the network it was trained on."
            )
        wanted = max(floors[coupling.name], round_up(int(kept.sum()), multiple))
        widths[coupling.name] = min(coupling.num_units, wanted)
        if coupling.name in _inside_branches(couplings) and not kept.any():
            widths[coupling.name] = 0
    return widths


def _inside_branches(couplings: Couplings) -> frozenset[str]:
    """Couplings that may lose all of their units."""
    return frozenset(name for branch in couplings.branches for name in branch.couplings)


def floor_of(coupling: Coupling, settings: StripSettings) -> int:
    """Fewest units that the coupling keeps: its floor share, up to ``round_to``, at most all."""
    floor = max(1, math.ceil(coupling.num_units * settings.floor_share))
    return min(coupling.num_units, round_up(floor, settings.round_to))


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


def relative_scores(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores divided by the mean of their coupling; a coupling of zeros stays zero."""
    return {
        name: score / mean if (mean := float(score.mean())) > 0 else score
        for name, score in scores.items()
    }


def _widths_in_budget(
    couplings: Couplings,
    cost: Cost,
    scores: Mapping[str, Tensor],
    floors: Mapping[str, int],
    settings: StripSettings,
) -> dict[str, int]:
    """Widths, multiples of ``round_to``, that fill the budget without passing it."""
    names = [coupling.name for coupling in couplings.free]
    table, share = _table(cost, names, settings)
    by_name = relative_scores(scores)
    relative = [by_name[name].double().numpy() for name in names]
    least_units = [floors[name] for name in names]
    inside = [number for number, name in enumerate(names) if name in _inside_branches(couplings)]
    ladder = Ladder.of(relative, least_units, settings.round_to, optional=inside)
    whole = table.cost(ladder.units * 0)
    if (least := table.cost(ladder.units - ladder.floors)) > share * whole:
        bare = table.cost(ladder.units - 1)
        raise BudgetError(
            f"The budget keeps {share:g} of the {_budget_word(settings)}, but the floors alone "
            f"cost {least / whole:.3f}. {_way_out(settings, bare / whole)}"
        )
    if inside:
        # First which branches go, in the order of the scores; then the widths without these.
        first = dict(zip(names, grant(table, ladder, share * whole).tolist(), strict=True))
        closed = without_dead(couplings.branches, best_units(scores, first)).widths()
        closed_numbers = [number for number in inside if not closed[names[number]]]
        ladder = Ladder.of(relative, least_units, settings.round_to, closed=closed_numbers)
    widths = fill(table, ladder, share * whole)
    return dict(zip(names, widths.tolist(), strict=True))


def _way_out(settings: StripSettings, bare: float) -> str:
    """What to do about floors that are above the budget; ``bare`` is the cost of one unit each."""
    share = settings.keep_macs or settings.keep_params
    assert share is not None
    if bare > share:
        return (
            f"Even one unit of each coupling costs {bare:.3f}, for the rest cannot be removed. "
            "Raise the budget, or take layers off strip.keep and strip.freeze."
        )
    return (
        f"Raise the budget, or lower strip.floor_share ({settings.floor_share:g}) or "
        f"strip.round_to ({settings.round_to})."
    )


def explain(
    couplings: Couplings, cost: Cost, path: Path, structure: Structure, settings: StripSettings
) -> str | None:
    """Which setting keeps ``structure`` more than 2 % below its budget; None if it is not.

    Args:
        couplings: Those of the network.
        cost: Its cost.
        path: The path that was solved along.
        structure: What ``solve`` made of it.
        settings: What it was asked for.
    """
    share = settings.keep_macs or settings.keep_params
    if share is None:
        return None
    reached = _reached(couplings, cost, structure, settings)
    if reached >= (1 - TOLERANCE) * share:
        return None
    word = _budget_word(settings)
    said = f"The slim network keeps {reached:.4f} of the {word}, {1 - reached / share:.1%} below "
    said += f"the budget of {share:g}, and exchanging widths comes no nearer"
    for limit, eased in _eased(settings):
        nearer = _reached(couplings, cost, solve(couplings, cost, path, structure, eased), eased)
        if nearer >= (1 - TOLERANCE) * share:
            return f"{said}: {limit} holds it there, without it {nearer:.4f} can be kept."
    return f"{said}: single units of this network cost more than what is left."


def _eased(settings: StripSettings) -> list[tuple[str, StripSettings]]:
    """The limits on widths, each with the settings without it; at last without both."""
    floor = f"strip.floor_share = {settings.floor_share:g}"
    multiple = f"strip.round_to = {settings.round_to}"
    return [
        (multiple, settings.model_copy(update={"round_to": 1})),
        (floor, settings.model_copy(update={"floor_share": 0.0})),
        (f"{floor} with {multiple}", settings.model_copy(update=_NO_LIMIT)),
    ]


_NO_LIMIT = {"round_to": 1, "floor_share": 0.0}


def _reached(
    couplings: Couplings, cost: Cost, structure: Structure, settings: StripSettings
) -> float:
    """Share of the dense network's cost that ``structure`` keeps, in the unit of the budget."""
    names = [coupling.name for coupling in couplings.free]
    table, _ = _table(cost, names, settings)
    removed = removed_units(structure)
    lost = np.array([removed[name] for name in names], dtype=np.int64)
    return table.cost(lost) / table.cost(lost * 0)


def _table(cost: Cost, names: list[str], settings: StripSettings) -> tuple[Table, float]:
    if settings.keep_macs is not None:
        return cost.macs_table(names), settings.keep_macs
    assert settings.keep_params is not None
    return cost.params_table(names), settings.keep_params


def _budget_word(settings: StripSettings) -> str:
    return "MACs" if settings.keep_macs is not None else "parameters"


def removed_units(structure: Structure) -> dict[str, int]:
    """Units that each coupling loses."""
    return {name: kept.numel() - int(kept.sum()) for name, kept in structure.keep.items()}

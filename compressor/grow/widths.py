"""Which couplings are widened, and by how much: pure functions of structures and supports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import BudgetError
from compressor.grow.settings import GrowSettings
from compressor.strip.budget import round_up
from compressor.structure import NEVER, Path, Structure


@dataclass(frozen=True)
class Ceiling:
    """What a network may cost at most.

    Attributes:
        key: Of the setting.
        limit: Share of the full network's cost, in (0, 1].
        share: Share of the full network's cost that a structure has.
    """

    key: str
    limit: float
    share: Callable[[Structure], float]

    def allows(self, structure: Structure) -> bool:
        """Whether a structure is within it."""
        return self.share(structure) <= self.limit


@dataclass(frozen=True)
class Limits:
    """What bounds the widths.

    Attributes:
        couplings: Of the full network.
        steps: Units of one step of each coupling.
        floors: Fewest units of each.
        ceilings: What no network may pass.
    """

    couplings: Couplings
    steps: Mapping[str, int]
    floors: Mapping[str, int]
    ceilings: Sequence[Ceiling]

    def allow(self, structure: Structure) -> bool:
        """Whether a structure is below every ceiling."""
        return all(ceiling.allows(structure) for ceiling in self.ceilings)


def leading(couplings: Couplings, widths: Mapping[str, int]) -> Structure:
    """The first units of each coupling."""
    return Structure({c.name: torch.arange(c.num_units) < widths[c.name] for c in couplings.free})


def with_widths(structure: Structure, widths: Mapping[str, int]) -> Structure:
    """``structure`` with the first units that it leaves out, up to ``widths``."""
    keep = {}
    for name, kept in structure.keep.items():
        missing = widths[name] - int(kept.sum())
        keep[name] = kept.clone()
        keep[name][(~kept).nonzero().flatten()[:missing]] = True
    return Structure(keep)


def first_structure(limits: Limits, settings: GrowSettings) -> Structure:
    """The network that growing starts from.

    Raises:
        BudgetError: It is above a ceiling.
    """
    structure = leading(
        limits.couplings,
        {c.name: _start(c, limits, settings) for c in limits.couplings.free},
    )
    for ceiling in limits.ceilings:
        if not ceiling.allows(structure):
            raise BudgetError(
                f"grow.{ceiling.key} = {ceiling.limit:g}: the network that growing starts from has "
                f"{ceiling.share(structure):.3f} of the full network's. Raise it, or lower "
                f"grow.start_share ({settings.start_share:g}) or strip.round_to."
            )
    return structure


def _start(coupling: Coupling, limits: Limits, settings: GrowSettings) -> int:
    wanted = max(limits.floors[coupling.name], round(settings.start_share * coupling.num_units))
    return min(coupling.num_units, round_up(wanted, limits.steps[coupling.name]))


def next_structure(
    limits: Limits, structure: Structure, shares: Mapping[str, float], settings: GrowSettings
) -> Structure:
    """The structure of the next round: saturated couplings widened, the fullest first.

    A coupling whose next width would pass a ceiling stays, and the next one has its turn. Of equal
    shares the first coupling of the network comes first. Nothing is saturated: the same structure.

    Args:
        limits: What bounds the widths.
        structure: That of this round.
        shares: Share of each coupling's units that have entered, in [0, 1].
        settings: When to widen, and by how much.
    """
    widths = structure.widths()
    full = sorted(
        (c for c in limits.couplings.free if shares[c.name] >= settings.saturated),
        key=lambda coupling: -shares[coupling.name],
    )
    for coupling in full:
        wider = widths | {coupling.name: _wider(coupling, widths, limits, settings)}
        if limits.allow(with_widths(structure, wider)):
            widths = wider
    return with_widths(structure, widths)


def _wider(
    coupling: Coupling, widths: Mapping[str, int], limits: Limits, settings: GrowSettings
) -> int:
    width, step = widths[coupling.name], limits.steps[coupling.name]
    wanted = max(width + step, int(settings.growth * width))
    return min(coupling.num_units, round_up(wanted, step))


def stripped(limits: Limits, structure: Structure, path: Path) -> Structure:
    """``structure`` without the units that have not entered, but for whole steps and floors.

    Args:
        limits: What bounds the widths.
        structure: That of now.
        path: Of its network: the units that it keeps, in their order.
    """
    keep = {}
    for coupling in limits.couplings.free:
        name = coupling.name
        units, step = path.couplings[name], limits.steps[name]
        entered = units.entry_step != NEVER
        wanted = round_up(max(limits.floors[name], int(entered.sum())), step)
        # What entered comes first, the rest of the last step after its score.
        worth = units.score + entered.double() * (1 + float(units.score.max()))
        best = worth.argsort(descending=True, stable=True)[:wanted]
        places = structure.keep[name].nonzero().flatten()[best]
        keep[name] = torch.zeros(coupling.num_units, dtype=torch.bool)
        keep[name][places] = True
    return Structure(keep)


def spent(
    limits: Limits,
    structure: Structure,
    path: Path,
    macs: Callable[[Structure], float],
    allowed: float,
) -> Structure:
    """``structure`` with the MACs that are left spent, on couplings whose units entered first.

    The couplings have their turn in the order of the mean time in which their units entered, a step
    each, until none fits any more. Couplings without an entry get nothing.

    Args:
        limits: What bounds the widths.
        structure: What is left after a strip.
        path: Of the network before the strip.
        macs: MACs of a structure.
        allowed: What they may be.
    """
    order = sorted(
        (c for c in limits.couplings.free if path.couplings[c.name].entry_time.isfinite().any()),
        key=lambda coupling: _mean_entry(path, coupling.name),
    )
    rises = True
    while rises:
        rises = False
        for coupling in order:
            widths = structure.widths()
            step = limits.steps[coupling.name]
            wider = min(coupling.num_units, widths[coupling.name] + step)
            candidate = with_widths(structure, widths | {coupling.name: wider})
            fits = macs(candidate) <= allowed and limits.allow(candidate)
            if wider > widths[coupling.name] and fits:
                structure, rises = candidate, True
    return structure


def _mean_entry(path: Path, name: str) -> float:
    times = path.couplings[name].entry_time
    return float(times[times.isfinite()].mean())

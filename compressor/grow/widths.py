"""Which couplings are widened, and by how much: pure functions of structures and supports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import BudgetError
from compressor.grow.settings import GrowSettings
from compressor.strip.budget import round_up
from compressor.structure import Structure


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


def leading(couplings: Couplings, widths: Mapping[str, int]) -> Structure:
    """The first units of each coupling."""
    return Structure({c.name: torch.arange(c.num_units) < widths[c.name] for c in couplings.free})


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
        structure: That of this round, the leading units of each coupling.
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
        candidate = leading(limits.couplings, wider)
        if all(ceiling.allows(candidate) for ceiling in limits.ceilings):
            widths = wider
    return leading(limits.couplings, widths)


def _wider(
    coupling: Coupling, widths: Mapping[str, int], limits: Limits, settings: GrowSettings
) -> int:
    width, step = widths[coupling.name], limits.steps[coupling.name]
    wanted = max(width + step, int(settings.growth * width))
    return min(coupling.num_units, round_up(wanted, step))

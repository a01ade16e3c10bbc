"""Why a network ended below its budget: which limit on widths holds it there."""

from compressor.couplings.coupling import Couplings
from compressor.strip.budget import Budget, StripSettings, solve
from compressor.strip.cost import Cost
from compressor.strip.fill import TOLERANCE
from compressor.structure import Path, Structure


def explain(
    couplings: Couplings,
    cost: Cost,
    path: Path,
    structure: Structure,
    settings: StripSettings,
) -> str | None:
    """Which setting keeps ``structure`` more than 2 % below its budget; None if it is not.

    None too for a budget in time: there the record says what was asked and what was measured.

    Args:
        couplings: Those of the network.
        cost: Its cost.
        path: The path that was solved along.
        structure: What ``solve`` made of it.
        settings: What it was asked for.
    """
    budget = Budget.of(couplings, cost, settings)
    if budget is None:
        return None
    reached = budget.reached(couplings, structure)
    if reached >= (1 - TOLERANCE) * budget.share:
        return None
    said = (
        f"The slim network keeps {reached:.4f} of the {budget.word}, "
        f"{1 - reached / budget.share:.1%} below the budget of {budget.share:g}, and exchanging "
        "widths comes no nearer"
    )
    for limit, eased in _eased(settings):
        nearer = budget.reached(couplings, solve(couplings, cost, path, structure, eased))
        if nearer >= (1 - TOLERANCE) * budget.share:
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

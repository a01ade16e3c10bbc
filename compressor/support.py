"""What the support of a search costs, when it will fill the budget, and whether by the end.

Units outside the support have no place on the path: where the budget is larger than the support,
they are filled in by rank, and the search has said little about them. A person should know early.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compressor.couplings.coupling import Couplings
from compressor.settings import Settings
from compressor.strip.budget import Cost, StripSettings
from compressor.train.stop_settings import StopSettings
from compressor.train.stopping import (
    ROUNDING,
    AccuracyRule,
    BudgetRule,
    ShareRule,
    StableRule,
    StopRule,
    learned,
)

WARN_AFTER_SHARE = 0.5
"""Before this share of the search a support says little about where it will end."""

FORECAST_AFTER_SHARE = 0.1
"""From this share of the search on a person is shown where the support is heading."""

LARGER_SUPPORT = {
    "density": "raise sparsity.density",
    "nu": "lower sparsity.nu",
    "entry_share": "lower sparsity.entry_share",
    "strength": "lower sparsity.strength",
}
"""Settings of methods that decide how much is kept, and which way leads to more; the first that a
method has, and that is not None, holds."""


def to_keep_more(sparsity: Settings) -> str:
    """What to change in a method's settings so that it ends with a larger support; may be empty."""
    ways = (way for name, way in LARGER_SUPPORT.items() if getattr(sparsity, name, None))
    return next(ways, "")


def forecast(shares: Mapping[int, float], num_epochs: int) -> float:
    """Share at the end of the search if it goes on as it did in the last epoch, in [0, 1].

    Args:
        shares: Share of the dense network's cost in the support, in [0, 1], by epoch from 1; at
            least one. Where the epoch before the last is missing, the share is taken to have
            grown evenly from zero.
        num_epochs: Length of the search.
    """
    epoch = max(shares)
    expected = shares[epoch] + _growth(shares) * (num_epochs - epoch)
    return min(1.0, max(0.0, expected))


def meeting_epoch(shares: Mapping[int, float], num_epochs: int, budget: float) -> int | None:
    """Epoch from whose end on the support fills the budget; None if not by the end of the search.

    Where it fills it already, this is the first of the known epochs that have done so without a
    break; else it is the one in which it will if the search goes on as it did in the last epoch.

    Args:
        shares: As for ``forecast``.
        num_epochs: Length of the search.
        budget: Share of the dense network's cost, in (0, 1].
    """
    epoch = max(shares)
    if shares[epoch] >= budget:
        below = [earlier for earlier, share in shares.items() if share < budget]
        return min(known for known in shares if known > max(below, default=0))
    growth = _growth(shares)
    # What is left is compared before it is divided: a growth of almost nothing never ends.
    if shares[epoch] + growth * (num_epochs - epoch) < budget - ROUNDING:
        return None
    return min(num_epochs, epoch + math.ceil((budget - shares[epoch]) / growth - ROUNDING))


def _growth(shares: Mapping[int, float]) -> float:
    """How much the share grew in the last epoch."""
    epoch = max(shares)
    before = shares.get(epoch - 1)
    return shares[epoch] / epoch if before is None else shares[epoch] - before


@dataclass(frozen=True)
class SupportCost:
    """What supports of one network cost.

    Attributes:
        measure: Cost of the network when each coupling loses so many units.
        units: Units of each coupling.
        key: Where records have the share.
        word: What is counted, for people.
    """

    measure: Callable[[Mapping[str, int]], float]
    units: Mapping[str, int]
    key: str
    word: str

    @classmethod
    def in_macs(cls, cost: Cost, couplings: Couplings) -> "SupportCost":
        """Counted in MACs."""
        return cls(cost.macs, _units(couplings), "support_macs_share", "MACs")

    @classmethod
    def in_params(cls, cost: Cost, couplings: Couplings) -> "SupportCost":
        """Counted in parameters."""
        return cls(cost.params, _units(couplings), "support_params_share", "parameters")

    def share(self, widths: Mapping[str, int]) -> float:
        """Share of the dense network's cost that units in the support make, in [0, 1]."""
        removed = {name: num_units - widths[name] for name, num_units in self.units.items()}
        return self.measure(removed) / self.measure({})


def _units(couplings: Couplings) -> dict[str, int]:
    return {coupling.name: coupling.num_units for coupling in couplings.free}


def stop_rule(
    settings: StopSettings,
    strip: StripSettings,
    cost: Cost,
    couplings: Couplings,
    num_classes: int,
) -> StopRule:
    """The rule that ``settings`` name; ``strip`` has its budget, unless it has one of its own."""
    match settings.rule:
        case "accuracy":
            return AccuracyRule(
                settings.delta,
                settings.patience,
                settings.norm_batches,
                may_go=frozenset(name for b in couplings.branches for name in b.couplings),
                least=learned(num_classes),
            )
        case "stable":
            return StableRule(settings.jaccard, settings.patience)
        case "share":
            return ShareRule(settings.share)
        case "budget":
            resolved = settings.with_budget(strip)
            by_params = resolved.keep_params is not None
            budget = resolved.keep_params if by_params else resolved.keep_macs
            assert budget is not None, "the recipe was checked"
            make = SupportCost.in_params if by_params else SupportCost.in_macs
            counted = make(cost, couplings)
            return BudgetRule(budget, counted.share, counted.key, counted.word)


class SupportWatch:
    """Follows the cost of the support over the epochs of one search; says once if it falls short.

    Cost is that of the budget, parameters or MACs; MACs where there is no budget or one of time,
    which nobody knows without building the network. A share of the time is then taken for the same
    share of the MACs, and the lines say so; milliseconds are compared with nothing. ``more`` is
    what the method can do about a support that is too small, empty where nothing is known.

    A search that goes on from a checkpoint is followed from there on.
    """

    def __init__(
        self,
        cost: Cost,
        couplings: Couplings,
        settings: StripSettings,
        num_epochs: int,
        more: str = "",
    ) -> None:
        by_params = settings.keep_params is not None
        make = SupportCost.in_params if by_params else SupportCost.in_macs
        self._cost = make(cost, couplings)
        self._budget = settings.keep_params if by_params else settings.keep_macs
        self._taken_for = ""
        if settings.keep_latency is not None:
            self._budget = settings.keep_latency
            self._taken_for = " of the latency, taken for that share of the MACs"
        self._in_words = _in_words(settings, self._budget)
        self._num_epochs = num_epochs
        self._advice = ", ".join([*([more] if more else ()), "train longer, or lower the budget"])
        self._shares: dict[int, float] = {}
        self._said = False

    def share(self, widths: Mapping[str, int]) -> float:
        """Share of the dense network's cost that units in the support make, in [0, 1]."""
        return self._cost.share(widths)

    def figures(self, record: Mapping[str, Any]) -> dict[str, float]:
        """What to add to an epoch's record; nothing for methods without a support."""
        return {self._cost.key: self.share(record["support"])} if record["support"] else {}

    def outlook(self, record: Mapping[str, Any]) -> dict[str, float | None]:
        """Where the support is heading, for the log, from a tenth of the search on.

        ``support_share_at_end`` is the share of the cost at the end of the search,
        ``budget_met_epoch`` the epoch from which on the budget is filled, or None. There is nothing
        without a budget that the support can be compared with, while the support is empty, which
        goes nowhere yet, and where the search stops.
        """
        early = record["epoch"] < FORECAST_AFTER_SHARE * self._num_epochs
        empty = not any(record["support"].values())
        if self._budget is None or early or empty or "stopped" in record:
            return {}
        shares = self._so_far(record)
        return {
            "support_share_at_end": forecast(shares, self._num_epochs),
            "budget_met_epoch": meeting_epoch(shares, self._num_epochs, self._budget),
        }

    def line(self, record: Mapping[str, Any]) -> str:
        """The share and the outlook for a person; ``record`` must have a support."""
        units = sum(record["support"].values()) / sum(self._cost.units.values())
        share = self.share(record["support"])
        held = f"support holds {share:.0%} of the {self._cost.word} ({units:.0%} of the units)"
        return held + self._in_words + self._outlook_in_words(record)

    def _outlook_in_words(self, record: Mapping[str, Any]) -> str:
        outlook = self.outlook(record)
        if self._budget is None or not outlook:
            return ""
        end, epoch = outlook["support_share_at_end"], outlook["budget_met_epoch"]
        if epoch is None:
            return f", not met by the end: heading for {end:.0%}"
        # A support that shrinks, as those of some methods do, may fall below it again.
        lost = end is not None and end < self._budget - ROUNDING
        return f", met in epoch {epoch}" + (f", heading for {end:.0%}" if lost else "")

    def notices(self, record: Mapping[str, Any]) -> list[str]:
        """Says, once and from half of the search on, that the support will not fill the budget.

        Of an empty support the method itself speaks, and a search that stops goes nowhere.
        """
        if not record["support"] or "stopped" in record:
            return []
        epoch, shares = record["epoch"], self._so_far(record)
        expected = forecast(shares, self._num_epochs)
        early = epoch < WARN_AFTER_SHARE * self._num_epochs
        empty = not any(record["support"].values())
        if self._budget is None or self._said or early or empty or expected >= self._budget:
            return []
        self._said = True
        return [
            f"The support holds {shares[epoch]:.1%} of the {self._cost.word} after epoch {epoch} "
            f"of {self._num_epochs} and is heading for {expected:.1%}; the budget is "
            f"{self._budget:.1%}{self._taken_for}. Units outside the support will be filled in by "
            f"rank: {self._advice}."
        ]

    def _so_far(self, record: Mapping[str, Any]) -> Mapping[int, float]:
        """Shares by epoch, up to that of ``record``."""
        self._shares[record["epoch"]] = self.share(record["support"])
        return self._shares


def _in_words(settings: StripSettings, share: float | None) -> str:
    """The budget at the end of a line; empty where there is none."""
    if settings.latency_ms is not None:
        return f", budget {settings.latency_ms:g} ms, which MACs do not tell"
    if share is None:
        return ""
    in_time = settings.keep_latency is not None
    return f", budget {share:.0%}" + (" of the latency, followed in MACs" if in_time else "")

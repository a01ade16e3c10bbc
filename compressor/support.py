"""What the support of a search costs, and whether it will fill the budget by the end.

Units outside the support have no place on the path: where the budget is larger than the support,
they are filled in by rank, and the search has said little about them. A person should know early.
"""

from collections.abc import Mapping
from typing import Any

from compressor.couplings.coupling import Couplings
from compressor.settings import Settings
from compressor.strip.budget import Cost, StripSettings

WARN_AFTER_SHARE = 0.5
"""Before this share of the search a support says little about where it will end."""

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
    before = shares.get(epoch - 1)
    growth = shares[epoch] / epoch if before is None else shares[epoch] - before
    return min(1.0, max(0.0, shares[epoch] + growth * (num_epochs - epoch)))


class SupportWatch:
    """Follows the cost of the support over the epochs of one search; says once if it falls short.

    Cost is that of the budget, parameters or MACs; MACs where there is no budget or one of time,
    which nobody knows without building the network. A share of the time is then taken for the same
    share of the MACs, and the lines say so; milliseconds are compared with nothing. ``more`` is
    what the method can do about a support that is too small, empty where nothing is known.
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
        self._measure = cost.params if by_params else cost.macs
        self._budget = settings.keep_params if by_params else settings.keep_macs
        self._taken_for = ""
        if settings.keep_latency is not None:
            self._budget = settings.keep_latency
            self._taken_for = " of the latency, taken for that share of the MACs"
        self._in_words = _in_words(settings, self._budget)
        self._key = "support_params_share" if by_params else "support_macs_share"
        self._word = "parameters" if by_params else "MACs"
        self._units = {coupling.name: coupling.num_units for coupling in couplings.free}
        self._num_epochs = num_epochs
        self._advice = ", ".join([*([more] if more else ()), "train longer, or lower the budget"])
        self._shares: dict[int, float] = {}
        self._said = False

    def share(self, widths: Mapping[str, int]) -> float:
        """Share of the dense network's cost that units in the support make, in [0, 1]."""
        removed = {name: num_units - widths[name] for name, num_units in self._units.items()}
        return self._measure(removed) / self._measure({})

    def figures(self, record: Mapping[str, Any]) -> dict[str, float]:
        """What to add to an epoch's record; nothing for methods without a support."""
        return {self._key: self.share(record["support"])} if record["support"] else {}

    def line(self, record: Mapping[str, Any]) -> str:
        """The share for a person; ``record`` must have a support."""
        units = sum(record["support"].values()) / sum(self._units.values())
        share = self.share(record["support"])
        held = f"support holds {share:.0%} of the {self._word} ({units:.0%} of the units)"
        return held + self._in_words

    def notices(self, record: Mapping[str, Any]) -> list[str]:
        """Says, once and from half of the search on, that the support will not fill the budget.

        Of an empty support the method itself speaks.
        """
        if not record["support"]:
            return []
        epoch = record["epoch"]
        self._shares[epoch] = self.share(record["support"])
        expected = forecast(self._shares, self._num_epochs)
        early = epoch < WARN_AFTER_SHARE * self._num_epochs
        empty = not any(record["support"].values())
        if self._budget is None or self._said or early or empty or expected >= self._budget:
            return []
        self._said = True
        return [
            f"The support holds {self._shares[epoch]:.1%} of the {self._word} after epoch {epoch} "
            f"of {self._num_epochs} and is heading for {expected:.1%}; the budget is "
            f"{self._budget:.1%}{self._taken_for}. Units outside the support will be filled in by "
            f"rank: {self._advice}."
        ]


def _in_words(settings: StripSettings, share: float | None) -> str:
    """The budget at the end of a line; empty where there is none."""
    if settings.latency_ms is not None:
        return f", budget {settings.latency_ms:g} ms, which MACs do not tell"
    if share is None:
        return ""
    in_time = settings.keep_latency is not None
    return f", budget {share:.0%}" + (" of the latency, followed in MACs" if in_time else "")

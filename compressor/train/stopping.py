"""Rules that end a search early, this project's own; what each looks at, and when it holds.

A rule writes its figures into the record of each epoch, and decides by the records alone. So a run
that goes on from a checkpoint decides as the one that never stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from compressor.structure import Structure

ROUNDING = 1e-9
"""Accuracies are shares of whole images; their difference is not exact, and must not decide."""

Figures = dict[str, Any]
"""What a rule adds to the record of an epoch."""

Records = Sequence[Mapping[str, Any]]
"""One for each epoch so far, with the figures of the rule."""


@dataclass(frozen=True)
class Look:
    """What a rule may look at after an epoch.

    Attributes:
        before: The support an epoch ago; before the first epoch, what the method began with.
        support: The support now.
        masked_accuracy: Validation accuracy of the network restricted to the support, its norm
            statistics estimated anew over so many batches. Takes a pass over the images.
    """

    before: Structure
    support: Structure
    masked_accuracy: Callable[[int], float]


class StopRule(Protocol):
    """When a job ends before its last epoch."""

    def figures(self, look: Look) -> Figures:
        """What to add to the record; without figures the epoch does not count."""
        ...

    def why(self, records: Records) -> str | None:
        """Why the last of ``records`` is the end, for a person; None where it is not."""
        ...


def verdict(rule: StopRule, look: Look, history: Records, record: Mapping[str, Any]) -> Figures:
    """What ``rule`` adds to ``record``: its figures, and why it ``stopped`` where it did."""
    figures = rule.figures(look)
    why = rule.why([*history, {**record, **figures}])
    return figures | ({} if why is None else {"stopped": why})


def jaccard(one: Structure, other: Structure) -> float:
    """Units in both over units in either, in [0, 1]; 1 where both are empty.

    Args:
        one: Of the same couplings as the other.
        other: Any structure.
    """
    pairs = [(kept, other.keep[name]) for name, kept in one.keep.items()]
    in_either = sum(int((a | b).sum()) for a, b in pairs)
    return sum(int((a & b).sum()) for a, b in pairs) / in_either if in_either else 1.0


def lasts(holds: Sequence[bool], patience: int) -> bool:
    """Whether the last ``patience`` (from 1) entries are all true, and there are as many."""
    return len(holds) >= patience and all(holds[-patience:])


def learned(num_classes: int) -> float:
    """Accuracy in (0, 1) from which on a network has learned something.

    Twice that of guessing; of two classes half way from guessing to all right.
    """
    chance = 1 / num_classes
    return min(2 * chance, (1 + chance) / 2)


@dataclass(frozen=True)
class AccuracyRule:
    """The whole network has learned something, and the masked one is as good.

    Attributes:
        delta: What it may be behind, as a share of the validation images.
        patience: Epochs in a row.
        norm_batches: Over which norm statistics of the masked network are estimated; 0 keeps them.
        may_go: Couplings that may lose all units, since their branch then goes.
        least: Accuracy of the whole network below which nothing ends: two networks that both guess
            are equally good.
    """

    delta: float
    patience: int
    norm_batches: int = 0
    may_go: frozenset[str] = frozenset()
    least: float = 0.0

    def figures(self, look: Look) -> Figures:
        """Nothing while a coupling that must stay has no unit: there is no such network."""
        widths = look.support.widths()
        if any(not width and name not in self.may_go for name, width in widths.items()):
            return {}
        return {"masked_accuracy": look.masked_accuracy(self.norm_batches)}

    def why(self, records: Records) -> str | None:
        """Both accuracies, once they have been close for long enough."""
        if not lasts([self._holds(record) for record in records], self.patience):
            return None
        masked, whole = records[-1]["masked_accuracy"], records[-1]["validation_accuracy"]
        return (
            f"validation accuracy is {masked:.2%} masked and {whole:.2%} whole, at most "
            f"{self.delta:.2%} apart{_in_a_row(self.patience)}"
        )

    def _holds(self, record: Mapping[str, Any]) -> bool:
        masked: float = record.get("masked_accuracy", -1.0)
        whole: float = record["validation_accuracy"]
        knows = whole >= self.least - ROUNDING
        return knows and masked >= 0 and whole - masked <= self.delta + ROUNDING


@dataclass(frozen=True)
class StableRule:
    """The support has moved, and hardly moves any more.

    Attributes:
        jaccard: Least Jaccard index of the supports of two following epochs.
        patience: Epochs in a row.
    """

    jaccard: float
    patience: int

    def figures(self, look: Look) -> Figures:
        """Nothing while no unit is in."""
        if not look.support.num_kept:
            return {}
        return {"support_jaccard": jaccard(look.before, look.support)}

    def why(self, records: Records) -> str | None:
        """The index, once the support has moved and then hardly moved for long enough."""
        indices = [record.get("support_jaccard") for record in records]
        holds = [index is not None and index >= self.jaccard for index in indices]
        # Some methods begin with all units in, and stand still until their thresholds bite.
        moved = any(index is not None and index < 1 for index in indices)
        if not moved or not lasts(holds, self.patience):
            return None
        return (
            f"the support is stable, with a Jaccard index of {indices[-1]:.4f} to the epoch "
            f"before, at least {self.jaccard:g}{_in_a_row(self.patience)}"
        )


@dataclass(frozen=True)
class ShareRule:
    """Enough units are in.

    Attributes:
        share: Least share of all units.
    """

    share: float

    def figures(self, look: Look) -> Figures:
        """The share of units in the support."""
        return {"units_share": look.support.num_kept / look.support.num_units}

    def why(self, records: Records) -> str | None:
        """The share, once it is large enough."""
        found = records[-1]["units_share"]
        if found < self.share:
            return None
        return f"the support has {found:.1%} of the units, at least {self.share:.1%}"


@dataclass(frozen=True)
class BudgetRule:
    """The units that are in fill the budget, so that it can be spent on the path alone.

    Attributes:
        budget: Share of the dense network's cost.
        cost_share: Share of it that a support with these widths costs.
        key: Where the record has it.
        word: What is counted, for people.
    """

    budget: float
    cost_share: Callable[[Mapping[str, int]], float]
    key: str
    word: str

    def figures(self, look: Look) -> Figures:
        """The share of the cost that the support needs."""
        return {self.key: self.cost_share(look.support.widths())}

    def why(self, records: Records) -> str | None:
        """The share of the cost, once it fills the budget."""
        found = records[-1][self.key]
        if found < self.budget:
            return None
        return (
            f"the support holds {found:.1%} of the {self.word}, and the budget is {self.budget:.1%}"
        )


def _in_a_row(patience: int) -> str:
    return f", {patience} epochs in a row" if patience > 1 else ""

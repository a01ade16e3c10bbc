"""What the flow of labels finds out: which labels belong together, and which must stay."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compressor.couplings.coupling import Heads, Kind
from compressor.couplings.sheets import NO_LABEL, Sheet, Value, compact, first_along, settle

Edges = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Owned:
    """Labels that one axis of a parameter or buffer brought in, shape ``(size,)``."""

    name: str
    axis: int
    labels: Tensor


@dataclass
class Ledger:
    """Unions, frozen labels and the roles of parameters, written down as the graph is walked."""

    num_labels: int = 0
    edges: list[Edges] = field(default_factory=list)
    frozen: list[tuple[Tensor, str]] = field(default_factory=list)
    owned: list["Owned"] = field(default_factory=list)
    place: str = "the network"
    """The operator that is walked now, for reasons."""
    heads: Heads = "whole"
    """What may leave a product of many matrices at once, as attention is."""
    _starts: list[int] = field(default_factory=list)
    _roles: dict[tuple[str, int], Kind] = field(default_factory=dict)

    def fresh(self, count: int) -> Tensor:
        """``count`` labels that nobody has, shape ``(count,)``."""
        first, self.num_labels = self.num_labels, self.num_labels + count
        return torch.arange(first, first + count)

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Labels at the same place belong together; arrays of one shape.

        A label that meets an element without label is frozen: that element stays.
        """
        one, other = pairs_once(first, second)
        for here, there in ((one, other), (other, one)):
            if len(alone := here[(here != NO_LABEL) & (there == NO_LABEL)]):
                self.freeze(alone, f"they meet values that keep their width in {self.place}")
        self._join(one, other)

    def attach(self, labels: Tensor, onto: Tensor) -> None:
        """As ``unite``, where elements without label are no harm: what reads them stays whole."""
        self._join(*pairs_once(labels, onto))

    def _join(self, one: Tensor, other: Tensor) -> None:
        both = (one != NO_LABEL) & (other != NO_LABEL) & (one != other)
        if both.any():
            self.edges.append((one[both], other[both]))

    def freeze(self, labels: Tensor, reason: str) -> None:
        """These labels cannot be removed."""
        found = compact(labels).flatten()
        self.frozen.append((found[found != NO_LABEL], reason))

    def freeze_sheet(self, sheet: Sheet, what: str) -> None:
        """A whole sheet that an operator cannot lose."""
        self.freeze(sheet.labels, f"{what} in {self.place}")

    def collapse(self, sheet: Sheet, axes: Sequence[int]) -> Sheet:
        """The sheet without change along ``axes``: what lay along them is one unit now."""
        along = [axis for axis in axes if axis in sheet.axes]
        if not along:
            return sheet
        first = first_along(sheet.labels, along)
        self.unite(sheet.labels, first)
        return Sheet(settle(first), sheet.zero)

    def own(self, name: str, axis: int, count: int) -> Tensor:
        """Fresh labels for one axis of a parameter or buffer, shape ``(count,)``."""
        labels = self.fresh(count)
        self._starts.append(int(labels[0]))
        self.owned.append(Owned(name, axis, labels))
        return labels

    def reads(self, value: Value, axis: int, kind: Kind) -> None:
        """What the tensor that owns the labels along ``axis`` holds there.

        One that makes channels in one place and reads them in another makes them (tied words).
        """
        for sheet in value.along(axis):
            owner = self._owner(sheet.labels)
            if self._roles.get(owner) != "filter":
                self._roles[owner] = kind

    def reads_if_bare(self, value: Value, axis: int, kind: Kind) -> None:
        """As ``reads``, for a tensor of which no operator has said anything yet."""
        for sheet in value.along(axis):
            self._roles.setdefault(self._owner(sheet.labels), kind)

    def role(self, owned: "Owned") -> Kind:
        """What a tensor holds along an axis; what is only added or copied counts as a shift."""
        return self._roles.get((owned.name, owned.axis), "shift")

    def _owner(self, labels: Tensor) -> tuple[str, int]:
        found = compact(labels)
        label = int(found[found != NO_LABEL].flatten()[0])
        owned = self.owned[bisect.bisect_right(self._starts, label) - 1]
        return owned.name, owned.axis


def pairs_once(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Labels, or classes of them, at the same place of two arrays; each pair once."""
    small, other = compact(first), compact(second)
    shape = [max(sizes) for sizes in zip(small.shape, other.shape, strict=True)]
    one, two = small.expand(shape).flatten(), other.expand(shape).flatten()
    # As one number each, NO_LABEL as 0: rows of two take many times longer to sort.
    count = int(two.max()) + 2
    pairs: Tensor = ((one + 1) * count + two + 1).unique()  # type: ignore[no-untyped-call]
    return pairs // count - 1, pairs % count - 1

"""How sheets of several tensors meet in one operator: by place, after broadcasting."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Sheet, Value, expanded


@dataclass(frozen=True)
class Party:
    """One tensor of a meeting, in the meeting's own axes.

    Attributes:
        sheets: Its sheets, broadcast to the meeting's shape.
        extends: Axes of the meeting along which it has a size of its own.
    """

    sheets: tuple[Sheet, ...]
    extends: frozenset[int]


@dataclass(frozen=True)
class Joined:
    """A sheet after a meeting, and for each party whether its part of it is zero when masked.

    Attributes:
        labels: Labels in the meeting's axes.
        zeros: One entry per party; None where the party has no sheet here.
    """

    labels: Tensor
    zeros: tuple[bool | None, ...]


def broadcast_party(value: Value, shape: Sequence[int]) -> Party:
    """A tensor as a party of an elementwise operator whose output has ``shape``."""
    lead = len(shape) - len(value.shape)
    sheets = tuple(Sheet(expanded(sheet.labels, shape), sheet.zero) for sheet in value.sheets)
    extends = frozenset(lead + axis for axis, size in enumerate(value.shape) if size > 1)
    return Party(sheets, extends)


def meet(ledger: Ledger, parties: Sequence[Party], shared: frozenset[int]) -> list[Joined]:
    """Sheets of all parties, united where they share an axis.

    Args:
        ledger: Where unions are written.
        parties: The tensors.
        shared: Axes on which parties meet by place; along others each goes its own way.
    """
    groups: list[list[tuple[int, Sheet]]] = []
    for number, party in enumerate(parties):
        for sheet in party.sheets:
            axes = set(sheet.axes) & shared
            group = next((g for g in groups if any(axes & set(other.axes) for _, other in g)), None)
            if group is None:
                groups.append([(number, sheet)])
            else:
                group.append((number, sheet))
    return [j for group in groups if (j := _join(ledger, parties, group, shared)) is not None]


def _join(
    ledger: Ledger,
    parties: Sequence[Party],
    group: list[tuple[int, Sheet]],
    shared: frozenset[int],
) -> Joined | None:
    widest = max((sheet for _, sheet in group), key=lambda sheet: len(sheet.axes))
    held = _held_axes(parties, group, shared)
    inner = [axis for axis in widest.axes if axis in held]
    if len(inner) < len(widest.axes):
        # Rows that some party holds cannot be the units, so columns are.
        widest = ledger.collapse(widest, inner)
    for _, sheet in group:
        widest = _agree_on_axes(ledger, widest, sheet)
    inner = [axis for axis in widest.axes if axis in held]
    if inner and len(inner) == len(widest.axes):
        for _, sheet in group:
            ledger.freeze_sheet(sheet, "they meet values that keep their width")
        return None
    widest = ledger.collapse(widest, inner)
    zeros: list[bool | None] = [None] * len(parties)
    for number, sheet in group:
        if set(sheet.axes) & set(widest.axes):
            ledger.unite(ledger.collapse(sheet, inner).labels, widest.labels)
            zeros[number] = sheet.zero
        else:
            ledger.freeze_sheet(sheet, "rows leave together there, and these are columns")
    return Joined(widest.labels, tuple(zeros))


def _agree_on_axes(ledger: Ledger, widest: Sheet, sheet: Sheet) -> Sheet:
    """``widest`` without the inner axes that ``sheet`` alone runs along.

    Where rows and columns meet (heads times entries of a head, say), rows are the units: a vector
    along the columns leaves them whole.
    """
    axes = set(sheet.axes)
    if axes < set(widest.axes) and widest.axes[0] not in axes:
        return ledger.collapse(widest, sorted(axes))
    return widest


def _held_axes(
    parties: Sequence[Party], group: list[tuple[int, Sheet]], shared: frozenset[int]
) -> set[int]:
    """Axes along which some party has values of its own that no label of this group covers."""
    held: set[int] = set()
    for number, party in enumerate(parties):
        covered = {axis for other, sheet in group if other == number for axis in sheet.axes}
        held |= (party.extends & shared) - covered
    return held

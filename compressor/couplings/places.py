"""Operators that only move data, but count places while doing so: every second, the first three.

Once units are gone the same count means other places, so these units stay, unless a union of them
keeps the count right.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compressor.couplings.call import Call
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Sheet, Value, settle


def hold_counted(ledger: Ledger, call: Call) -> Value:
    """The first tensor, without labels that ``call`` would find elsewhere once some are gone.

    Where a sheet runs along other axes too (heads times entries of a head), what lies along the
    counted one is one unit: rows leave whole, and the count within each stays right.
    """
    value = call.values[0]
    sheets = []
    for sheet in value.sheets:
        axes, reason = _counted(call, sheet, len(value.shape))
        if axes and len(axes) < len(sheet.axes):
            sheets.append(ledger.collapse(sheet, axes))
            continue
        if axes:
            ledger.freeze_sheet(sheet, reason)
        sheets.append(sheet)
    if call.name == "channel_shuffle":
        for channels in _channels(ledger, value, 1):
            places = channels.view(call["groups"], -1)
            ledger.unite(places, places[:1].expand_as(places))
    if call.name == "pixel_shuffle":
        for channels in _channels(ledger, value, len(value.shape) - 3):
            blocks = channels.view(-1, call["upscale_factor"] ** 2)
            ledger.unite(blocks, blocks[:, :1].expand_as(blocks))
    return replace(value, sheets=tuple(sheets))


def _counted(call: Call, sheet: Sheet, dims: int) -> tuple[list[int], str]:
    """Axes of the sheet along which ``call`` counts places, and how it does."""
    if call.name == "roll":
        # Without axes the tensor is rolled as one row.
        rolled = {axis % dims for axis in call["dims"]} or set(range(dims))
        return [axis for axis in sheet.axes if axis in rolled], "they are rolled"
    if call.get("dim") is None or call.axis("dim", dims) not in sheet.axes:
        return [], ""
    axis = call.axis("dim", dims)
    if call.name == "slice" and call["step"] != 1:
        return [axis], f"one in {call['step']} is taken"
    if call.name in COUNTING_SPLITS and not _parts_stay_equal(call):
        return [axis], f"{call.name} divides them at places that do not move with them"
    return [], ""


COUNTING_SPLITS = frozenset({"split", "chunk", "tensor_split", "unsafe_split"})
"""Splits by a number; those by a list of sizes are edited in the graph."""


def _parts_stay_equal(call: Call) -> bool:
    by_list = any(key in call.arguments for key in ("indices", "tensor_indices_or_sections"))
    return len(set(call.shapes)) == 1 and not by_list


def _channels(ledger: Ledger, value: Value, axis: int) -> list[Tensor]:
    """Labels along the channels' axis, shape ``(channels,)``, for each sheet that has them.

    A shuffle takes the same place of each group, and the pixels of a channel from one block of
    channels: such places, and such blocks, are units, so that no number of the call changes.
    """
    found = []
    for sheet in value.along(axis):
        flat = ledger.collapse(sheet, [other for other in sheet.axes if other != axis])
        found.append(flat.labels.movedim(axis, 0).reshape(value.shape[axis], -1)[:, 0])
    return found


EQUAL_PARTS = frozenset(
    {
        "split",
        "chunk",
        "split_with_sizes",
        "tensor_split",
        "unsafe_split",
        "unsafe_split_with_sizes",
    }
)
"""Operators whose parts stay equal where they are."""


def unite_parts(ledger: Ledger, call: Call, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """Parts of equal size along a labelled axis stay equal: the same place in each is one unit."""
    if len(parts) > 1 and len({part.shape for part in parts}) == 1:
        axis = call.axis("dim", parts[0].dim())
        whole = settle(torch.cat(list(parts), dim=axis))
        if axis in Sheet(whole, zero=False).axes:
            for part in parts[1:]:
                ledger.unite(part, parts[0])
            return [parts[0]] * len(parts)
    return parts

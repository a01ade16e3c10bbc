"""Operators that only move data: torch itself applies them to the labels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.couplings.call import Call, Result, constant_result
from compressor.couplings.ledger import Ledger
from compressor.couplings.meeting import Party, meet
from compressor.couplings.places import EQUAL_PARTS, hold_counted, unite_parts
from compressor.couplings.sheets import (
    NO_LABEL,
    Sheet,
    Value,
    compact,
    resized,
    settle,
    varying,
)

MOVES: dict[str, Callable[..., Any] | None] = {
    "view": torch.reshape,
    "reshape": torch.reshape,
    "unsafe_view": torch.reshape,
    **dict.fromkeys(
        [
            "permute",
            "transpose",
            "t",
            "swapaxes",
            "swapdims",
            "movedim",
            "moveaxis",
            "flatten",
            "unflatten",
            "squeeze",
            "unsqueeze",
            "expand",
            "expand_as",
            "view_as",
            "reshape_as",
            "slice",
            "select",
            "narrow",
            "split",
            "split_with_sizes",
            "unbind",
            "roll",
            "flip",
            "repeat",
            "tile",
            "repeat_interleave",
            "pixel_shuffle",
            "pixel_unshuffle",
            "channel_shuffle",
            "diagonal",
            "rot90",
            "numpy_T",
            "mT",
            "adjoint",
            "unsafe_split",
            "unsafe_split_with_sizes",
            "tensor_split",
            "unfold",
            "chunk",
        ]
    ),
}
"""Operators applied to labels; None where the operator itself takes integers with stride 0."""

SAME = frozenset(
    [
        "contiguous",
        "clone",
        "alias",
        "detach",
        "lift_fresh",
        "lift_fresh_copy",
        "to",
        "to_copy",
        "type_as",
        "dropout",
        "alpha_dropout",
        "feature_dropout",
        "native_dropout",
        "positive",
    ]
)
"""Operators whose output has the labels of their input as they are."""


def same(_ledger: Ledger, call: Call) -> Result:
    """The labels of the first tensor, unchanged."""
    value = call.values[0]
    # Not the constant of the first tensor: its type of numbers may be another one now.
    return Value(call.shape, value.sheets, constant_result(call))


def move(ledger: Ledger, call: Call) -> Result:
    """The operator applied to each sheet of its first tensor."""
    first = hold_counted(ledger, call)
    moved: list[tuple[Sheet, Sequence[Tensor]]] = [
        (sheet, _outputs(call, sheet.labels)) for sheet in first.sheets
    ]
    if call.name in EQUAL_PARTS:
        moved = [(sheet, unite_parts(ledger, call, parts)) for sheet, parts in moved]
    constants: Sequence[Tensor | None] = [None] * len(call.shapes)
    if first.constant is not None:
        constants = _outputs(call, first.constant)
    values = tuple(
        Value(
            shape,
            tuple(
                Sheet(labels, sheet.zero)
                for sheet, parts in moved
                if bool((compact(labels := settle(parts[place])) != NO_LABEL).any())
            ),
            constants[place],
        )
        for place, shape in enumerate(call.shapes)
    )
    return values if _is_many(call) else values[0]


def _is_many(call: Call) -> bool:
    returns = call.target._schema.returns
    return "[]" in str(returns[0].type) or "List" in str(returns[0].type)


def _outputs(call: Call, labels: Tensor) -> tuple[Tensor, ...]:
    function = MOVES[call.name] or call.target
    seen: list[bool] = []

    def data(argument: Any) -> Any:
        if not isinstance(argument, Value):
            return argument
        # The first tensor is the one that moves; others give a shape or a constant.
        seen.append(True)
        if len(seen) == 1:
            return labels
        return torch.empty(argument.shape) if argument.constant is None else argument.constant

    positional = [data(argument) for argument in call.arguments.values()]
    if function is torch.reshape:
        result = torch.reshape(positional[0], positional[1])
    else:
        names = list(call.arguments)
        result = function(**dict(zip(names, positional, strict=True)))
    return tuple(result) if isinstance(result, list | tuple) else (result,)


def pad(ledger: Ledger, call: Call) -> Result:
    """Padding: along axes without labels they go on; along labelled ones the new places stay."""
    value, amounts = call.values[0], call.get("pad") or call.get("padding")
    shape = call.shape
    mode, filler = call.get("mode") or "constant", call.get("value") or 0
    sheets = []
    for sheet in value.sheets:
        padded = _padded_axes(amounts, len(shape))
        free = [axis for axis in padded if axis not in sheet.axes]
        small = sheet.labels
        for axis in free:
            small = small.narrow(axis, 0, 1)
        own = [
            0 if len(shape) - 1 - place // 2 in free else amount
            for place, amount in enumerate(amounts)
        ]
        if any(own):
            small = torch.nn.functional.pad(small, own, value=NO_LABEL)
            if mode != "constant":
                ledger.freeze_sheet(sheet, f"padded with copies of them ({mode})")
        zero = sheet.zero and (mode != "constant" or filler == 0)
        sheets.append(Sheet(settle(small.expand(shape)), zero))
    return Value(shape, tuple(sheets))


def _padded_axes(amounts: Sequence[int], dims: int) -> list[int]:
    return [
        dims - 1 - pair
        for pair in range(len(amounts) // 2)
        if any(amounts[2 * pair : 2 * pair + 2])
    ]


def index(ledger: Ledger, call: Call) -> Result:
    """Indexing with constant tensors; with others, labelled axes that are indexed stay."""
    value, places = call.values[0], call["indices"]
    if any(place is not None and place.constant is None for place in places):
        for sheet in value.sheets:
            ledger.freeze_sheet(sheet, "indexed with values that the network computes")
        return Value(call.shape)
    indices = tuple(slice(None) if place is None else place.constant for place in places)
    sheets = [Sheet(settle(sheet.labels[indices]), sheet.zero) for sheet in value.sheets]
    constant = None if value.constant is None else value.constant[indices]
    return Value(call.shape, tuple(sheets), constant)


def select_rows(ledger: Ledger, call: Call) -> Result:
    """``index_select`` and ``embedding``: rows taken by an index along one axis."""
    value, place = call.values[0], call.values[1]
    axis = call.axis("dim", len(value.shape)) if call.name == "index_select" else 0
    if call.name == "embedding":
        ledger.reads(value, 1, "filter")
    sheets = []
    for sheet in value.sheets:
        if axis in sheet.axes:
            if place.constant is None:
                ledger.freeze_sheet(sheet, "indexed with values that the network computes")
                continue
            rows = sheet.labels.index_select(axis, place.constant.flatten())
        else:
            rows = sheet.labels.narrow(axis, 0, 1)
            sizes = list(rows.shape)
            sizes[axis] = max(1, torch.Size(place.shape).numel())
            rows = rows.expand(sizes)
        sheets.append(Sheet(settle(rows.reshape(call.shape)), sheet.zero))
    return Value(call.shape, tuple(sheets))


def concatenate(ledger: Ledger, call: Call) -> Result:
    """``cat``, ``stack``: labels side by side along the axis, united place by place elsewhere."""
    values = [value for value in call["tensors"] if 0 not in value.shape]
    axis = call.axis("dim", len(call.shape))
    if call.name == "stack":
        values = [_lifted(value, axis) for value in values]
    sheets = []
    if any(value.along(axis) for value in values):
        sheets.append(_side_by_side(values, axis))
    joined = meet(ledger, [_across(value, axis, call.shape) for value in values], _but(call, axis))
    for entry in joined:
        sheets.append(Sheet(entry.labels, all(zero is True for zero in entry.zeros)))
    return Value(call.shape, tuple(sheets))


def _lifted(value: Value, axis: int) -> Value:
    sheets = tuple(Sheet(sheet.labels.unsqueeze(axis), sheet.zero) for sheet in value.sheets)
    return Value((*value.shape[:axis], 1, *value.shape[axis:]), sheets)


def _side_by_side(values: Sequence[Value], axis: int) -> Sheet:
    parts, zeros = [], []
    for value in values:
        found = value.along(axis)
        labels = found[0].labels if found else torch.full((1,), NO_LABEL).expand(value.shape)
        parts.append(labels)
        zeros.append(found[0].zero if found else True)
    # Where no part changes, one place stands for all.
    still = [
        other
        for other in range(parts[0].dim())
        if other != axis and all(other not in varying(part) for part in parts)
    ]
    for other in still:
        parts = [part.narrow(other, 0, 1) for part in parts]
    whole = torch.cat(parts, dim=axis)
    sizes = [
        values[0].shape[other] if other in still else size for other, size in enumerate(whole.shape)
    ]
    return Sheet(settle(whole.expand(sizes)), all(zeros))


def _across(value: Value, axis: int, shape: Sequence[int]) -> Party:
    sheets = tuple(
        Sheet(resized(sheet.labels, shape, [axis]), sheet.zero)
        for sheet in value.sheets
        if axis not in sheet.axes
    )
    extends = frozenset(place for place, size in enumerate(value.shape) if size > 1)
    return Party(sheets, extends)


def _but(call: Call, axis: int) -> frozenset[int]:
    return frozenset(range(len(call.shape))) - {axis}

"""Norms: which labels they unite, and whether they notice that a zero channel is gone."""

from collections.abc import Sequence

from torch import Tensor

from compressor.couplings.call import Call, Result
from compressor.couplings.coupling import Kind
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Sheet, Value, along_axis, axis_labels, settle

NOT_ZERO = "the norm runs over values that are not zero when masked"


def batch_norm(ledger: Ledger, call: Call) -> Result:
    """Batch and instance norm: each channel by itself."""
    value = call["input"]
    # A weight that is standardised before it is used is normed so, in any mode.
    own = bool(call.get("use_input_stats") or call.get("training"))
    sheets = []
    for sheet in value.sheets:
        if 1 in sheet.axes and len(value.shape) > 1:
            channels = ledger.collapse(sheet, [axis for axis in sheet.axes if axis != 1])
            affine = _vectors(ledger, call, channels, 1)
            # Statistics are taken from the zeros themselves.
            unshifted = own and sheet.zero and call.get("bias") is None
            sheets.append(Sheet(channels.labels, affine or unshifted))
        elif own and not _divisor_can_stay(call, sheet):
            ledger.freeze_sheet(sheet, "the norm runs over them")
        else:
            sheets.append(sheet.with_zero(zero=False))
    return _result(call, sheets)


def _divisor_can_stay(call: Call, sheet: Sheet) -> bool:
    """Whether statistics of the batch are as before without the sheet's masked places."""
    if call.name == "instance_norm":
        return sheet.axes == (0,)
    return sheet.zero and 0 not in sheet.axes


def _vectors(ledger: Ledger, call: Call, channels: Sheet, axis: int) -> bool:
    """Unite the norm's vectors with its channels; whether its output is zero where masked."""
    for key, kind in _VECTORS.items():
        vector = call.get(key)
        if isinstance(vector, Value):
            ledger.reads(vector, len(vector.shape) - 1, kind)
            ledger.attach(_laid(vector, axis, channels.labels.shape), channels.labels)
    return isinstance(call.get("weight"), Value)


_VECTORS: dict[str, Kind] = {
    "weight": "scale",
    "bias": "shift",
    "running_mean": "statistic",
    "running_var": "statistic",
}


def _laid(vector: Value, axis: int, shape: Sequence[int]) -> Tensor:
    return along_axis(axis_labels(vector, len(vector.shape) - 1), axis, shape)


def layer_norm(ledger: Ledger, call: Call) -> Result:
    """Layer and RMS norm over the last axes: exact without zero channels if the divisor stays."""
    value, dims = call["input"], len(call["normalized_shape"])
    first = len(value.shape) - dims
    sheets = []
    for sheet in value.sheets:
        inner = [axis for axis in sheet.axes if axis >= first]
        if not inner:
            sheets.append(sheet.with_zero(zero=False))
        elif len(inner) < len(sheet.axes):
            # Heads times entries of a head: whole heads are the units, each normed by itself.
            sheets.append(ledger.collapse(sheet, inner).with_zero(zero=False))
        elif not sheet.zero or dims > 1:
            ledger.freeze_sheet(sheet, NOT_ZERO)
        else:
            affine = _vectors(ledger, call, sheet, first)
            sheets.append(sheet.with_zero(affine))
    return _result(call, sheets)


def group_norm(ledger: Ledger, call: Call) -> Result:
    """Group norm: whole groups where there are at least as many as channels in one, else places."""
    value, groups = call["input"], int(call["num_groups"])
    sheets = []
    for sheet in value.sheets:
        if 1 not in sheet.axes:
            ledger.freeze_sheet(sheet, "the norm runs over them")
            continue
        channels = ledger.collapse(sheet, [axis for axis in sheet.axes if axis != 1])
        whole = _unite_groups(ledger, channels, groups)
        if not whole and not sheet.zero:
            ledger.freeze_sheet(sheet, NOT_ZERO)
            continue
        affine = _vectors(ledger, call, channels, 1)
        sheets.append(Sheet(channels.labels, affine))
    return _result(call, sheets)


def _unite_groups(ledger: Ledger, channels: Sheet, groups: int) -> bool:
    labels = axis_labels(Value(tuple(channels.labels.shape), (channels,)), 1).view(groups, -1)
    whole = groups >= labels.shape[1]
    if whole:
        ledger.unite(labels, labels[:, :1].expand_as(labels))
    else:
        ledger.unite(labels, labels[:1].expand_as(labels))
    return whole


def _result(call: Call, sheets: Sequence[Sheet]) -> Result:
    settled = tuple(Sheet(settle(sheet.labels), sheet.zero) for sheet in sheets)
    values = tuple(
        Value(shape, settled if len(shape) == len(call.shape) else ()) for shape in call.shapes
    )
    return values if len(values) > 1 else values[0]

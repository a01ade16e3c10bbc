"""Convolutions: plain, grouped and transposed."""

from torch import Tensor

from compressor.couplings.call import Call, Result
from compressor.couplings.contraction import add_bias
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import Sheet, Value, along_axis, axis_labels


def convolution(ledger: Ledger, call: Call) -> Result:
    """Convolutions, plain, grouped and transposed."""
    value, weight, bias = call["input"], call["weight"], call.get("bias")
    transposed = call.name.startswith("conv_transpose") or bool(call.get("transposed"))
    axis = len(value.shape) - len(weight.shape) + 1
    channels = _channel_sheets(ledger, value, axis)
    produced, reading = (1, 0) if transposed else (0, 1)
    groups = int(call["groups"])
    _freeze_kernel(ledger, weight)
    if groups == 1:
        labels = _plain_convolution(ledger, channels, weight, (produced, reading))
    else:
        rule = _grouped_transposed if transposed else _grouped_convolution
        labels = rule(ledger, channels, weight, groups)
    result = Value(call.shape, (Sheet(along_axis(labels, axis, call.shape), zero=True),))
    if len(labels) == 1:
        result = Value(call.shape)
    return add_bias(ledger, result, bias, axis)


def _channel_sheets(ledger: Ledger, value: Value, axis: int) -> list[Tensor]:
    """Labels of the input's channels, shape ``(channels,)``; sheets along other axes stay."""
    found = []
    for sheet in value.sheets:
        if axis not in sheet.axes:
            ledger.freeze_sheet(sheet, "a convolution mixes them")
            continue
        flat = ledger.collapse(sheet, [other for other in sheet.axes if other != axis])
        others = [other for other in range(len(value.shape)) if other != axis]
        labels = flat.labels
        for other in others:
            labels = labels.narrow(other, 0, 1)
        found.append(labels.flatten())
    return found


def _freeze_kernel(ledger: Ledger, weight: Value) -> None:
    for sheet in weight.sheets:
        if min(sheet.axes, default=2) > 1:
            ledger.freeze_sheet(sheet, "places of a kernel")


def _plain_convolution(
    ledger: Ledger, channels: list[Tensor], weight: Value, axes: tuple[int, int]
) -> Tensor:
    produced, reading = axes
    ledger.reads(weight, produced, "filter")
    ledger.reads(weight, reading, "input")
    read = axis_labels(weight, reading)
    for labels in channels:
        ledger.attach(labels, read)
    return axis_labels(weight, produced)


def _grouped_convolution(
    ledger: Ledger, channels: list[Tensor], weight: Value, groups: int
) -> Tensor:
    """Whole groups are units where there are at least as many as channels in one; else places."""
    ledger.reads(weight, 0, "filter")
    outputs = axis_labels(weight, 0).view(groups, -1)
    per_group = weight.shape[1]
    if groups >= max(per_group, outputs.shape[1]):
        ledger.unite(outputs, outputs[:, :1].expand_as(outputs))
        if not channels:
            ledger.freeze(outputs, f"each reads a group of values that stay in {ledger.place}")
        for labels in channels:
            inputs = labels.view(groups, -1)
            ledger.unite(inputs, outputs[:, :1].expand_as(inputs))
    else:
        ledger.reads(weight, 1, "input")
        ledger.unite(outputs, outputs[:1].expand_as(outputs))
        read = axis_labels(weight, 1)
        for labels in channels:
            ledger.unite(labels.view(groups, -1), read.expand(groups, -1))
    return outputs.flatten()


def _grouped_transposed(
    ledger: Ledger, channels: list[Tensor], weight: Value, groups: int
) -> Tensor:
    """Output channels of a group lie on axis 1, the same for all groups: places are units."""
    ledger.reads(weight, 1, "filter")
    ledger.reads(weight, 0, "input")
    read = axis_labels(weight, 0).view(groups, -1)
    ledger.attach(read, read[:1].expand_as(read))
    for labels in channels:
        ledger.unite(labels.view(groups, -1), read)
    outputs = axis_labels(weight, 1)
    return outputs.repeat(groups)

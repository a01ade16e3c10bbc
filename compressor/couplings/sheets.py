"""Label sheets: which unit each element of a tensor belongs to, as integer arrays.

A tensor of the network has one sheet for each independent way in which it may shrink: a feature map
one along its channels, a token mixer one along channels and one along tokens, a weight one along
each of its axes. A sheet has the tensor's own shape, so operators that only move data are applied
to it by torch itself. Along axes where the label does not change its stride is 0: such a sheet is
small however large the tensor is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

NO_LABEL = -1
"""Label of an element that no unit owns."""


@dataclass(frozen=True)
class Sheet:
    """Labels of a tensor's elements along one way of shrinking.

    Attributes:
        labels: int64, the tensor's shape, stride 0 along axes without change.
        zero: Whether elements of a removed unit are exactly zero in the masked network.
    """

    labels: Tensor
    zero: bool

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which labels change, outermost first."""
        return varying(self.labels)

    def with_zero(self, zero: bool) -> "Sheet":
        """The same labels with another ``zero``."""
        return replace(self, zero=zero)


@dataclass(frozen=True)
class Value:
    """A tensor on its way through the network.

    Attributes:
        shape: Its shape for the captured batch.
        sheets: Its sheets; none where nothing in it can shrink.
        constant: The data, where it is a constant of integers, bools or such.
    """

    shape: tuple[int, ...]
    sheets: tuple[Sheet, ...] = ()
    constant: Tensor | None = None

    def along(self, axis: int) -> tuple[Sheet, ...]:
        """Sheets that change along ``axis``."""
        return tuple(sheet for sheet in self.sheets if axis in sheet.axes)


def varying(labels: Tensor) -> tuple[int, ...]:
    """Axes along which ``labels`` may change: those with a stride."""
    sizes = zip(labels.shape, labels.stride(), strict=True)
    return tuple(axis for axis, (size, stride) in enumerate(sizes) if size > 1 and stride != 0)


def along_axis(labels: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """``labels``, shape ``(n,)``, laid along ``axis`` of ``shape`` and repeated over the others."""
    column = [1] * len(shape)
    column[axis] = len(labels)
    return labels.reshape(column).expand(tuple(shape))


def first_along(labels: Tensor, axes: Sequence[int]) -> Tensor:
    """The labels at place 0 of ``axes``, repeated along them; same shape."""
    first = labels
    for axis in axes:
        first = first.narrow(axis, 0, 1)
    return first.expand(labels.shape)


def compact(labels: Tensor) -> Tensor:
    """``labels`` with size 1 along every axis without change."""
    small = labels
    changing = varying(labels)
    for axis in range(labels.dim()):
        if axis not in changing and labels.shape[axis] > 1:
            small = small.narrow(axis, 0, 1)
    return small


def settle(labels: Tensor) -> Tensor:
    """Equal labels, with stride 0 along every axis that turns out to be without change."""
    if 0 in labels.shape:
        return labels
    whole = small = compact(labels)
    for axis in varying(labels):
        if bool((small == small.narrow(axis, 0, 1)).all()):
            small = small.narrow(axis, 0, 1)
    if small is not whole:
        # A view would keep all of what an operator has written in memory.
        small = small.clone()
    return small.expand(labels.shape)


def resized(labels: Tensor, shape: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Labels that do not change along ``axes``, for a tensor of another size along them."""
    small = labels
    for axis in axes:
        small = small.narrow(axis, 0, 1)
    return small.expand(tuple(shape))


def expanded(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Labels broadcast to ``shape``, as elementwise operators do."""
    return torch.broadcast_to(labels, tuple(shape))


def axis_labels(value: Value, axis: int) -> Tensor:
    """Labels along one axis of a weight, shape ``(size,)``; -1 where it has none."""
    for sheet in value.along(axis):
        labels = sheet.labels
        for other in range(labels.dim()):
            if other != axis:
                labels = labels.narrow(other, 0, 1)
        return labels.flatten()
    return torch.full((value.shape[axis],), -1)

"""Label sheets stay small and say the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.couplings.sheets import (
    Sheet,
    Value,
    along_axis,
    compact,
    expanded,
    first_along,
    resized,
    settle,
    varying,
)

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def arrays(draw):
    """Labels of few kinds, some axes repeated on purpose, written out in memory."""
    shape = draw(SIZES)
    small = [size if draw(st.booleans()) else 1 for size in shape]
    count = torch.Size(small).numel()
    data = draw(st.lists(st.integers(-1, 2), min_size=count, max_size=count))
    return torch.tensor(data).reshape(small).expand(shape).contiguous()


def truly_varying(labels):
    axes = range(labels.dim())
    return tuple(a for a in axes if bool((labels != labels.narrow(a, 0, 1)).any()))


@PROPERTY
@given(arrays())
def test_settled_labels_are_equal_and_vary_only_where_they_change(labels):
    settled = settle(labels)
    assert torch.equal(settled, labels)
    assert varying(settled) == truly_varying(labels)


@PROPERTY
@given(arrays())
def test_settling_twice_changes_nothing(labels):
    once = settle(labels)
    assert settle(once).stride() == once.stride()


@PROPERTY
@given(arrays())
def test_compact_labels_stand_for_all_when_they_are_broadcast(labels):
    settled = settle(labels)
    small = compact(settled)
    changing = truly_varying(labels)
    assert torch.equal(small.expand(labels.shape), labels)
    assert tuple(small.shape) == tuple(
        size if axis in changing else 1 for axis, size in enumerate(labels.shape)
    )


@PROPERTY
@given(arrays())
def test_settled_labels_keep_no_more_memory_than_they_need(labels):
    settled = settle(labels)
    if varying(settled) != varying(labels):
        assert settled.untyped_storage().nbytes() == 8 * compact(settled).numel()


@PROPERTY
@given(arrays(), st.data())
def test_first_along_repeats_the_first_place(labels, data):
    axis = data.draw(st.integers(0, labels.dim() - 1))
    first = first_along(labels, [axis])
    assert first.shape == labels.shape
    assert torch.equal(first.movedim(axis, 0)[-1], labels.movedim(axis, 0)[0])
    assert axis not in varying(first)


def test_labels_without_elements_settle_as_they_are():
    labels = torch.empty(2, 0, dtype=torch.int64)
    assert settle(labels) is labels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_along_an_axis_take_no_memory_for_the_others(axis):
    labels = torch.arange(5)
    shape = [1000, 1000, 1000]
    shape[axis] = 5
    laid = along_axis(labels, axis, shape)
    assert varying(laid) == (axis,)
    assert torch.equal(laid.movedim(axis, 0)[:, 3, 7], labels)
    assert laid.data_ptr() == labels.data_ptr()


def test_axis_of_size_one_does_not_vary():
    assert varying(torch.arange(3).reshape(1, 3, 1)) == (1,)


def test_labels_are_resized_along_axes_without_change():
    labels = along_axis(torch.arange(3), 1, (2, 3, 4, 4))
    wider = resized(labels, (2, 3, 8, 1), [2, 3])
    assert wider.shape == (2, 3, 8, 1)
    assert wider[1, :, 5, 0].tolist() == [0, 1, 2]


def test_labels_are_broadcast_from_the_last_axis():
    labels = along_axis(torch.arange(3), 0, (3, 1))
    assert expanded(labels, (2, 3, 4))[1, :, 2].tolist() == [0, 1, 2]


def test_value_knows_its_sheets_along_an_axis():
    shape = (3, 4)
    rows, columns = (Sheet(along_axis(torch.arange(shape[a]), a, shape), True) for a in (0, 1))
    value = Value(shape, (rows, columns))
    assert value.along(0) == (rows,)
    assert value.along(1) == (columns,)
    assert (rows.axes, columns.axes) == ((0,), (1,))


def test_zero_is_replaced_on_a_copy():
    sheet = Sheet(torch.arange(3), zero=True)
    changed = sheet.with_zero(zero=False)
    assert (sheet.zero, changed.zero) == (True, False)
    assert changed.labels is sheet.labels

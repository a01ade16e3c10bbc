"""Tensors that meet by place unite their units, or hold them."""

import pytest
import torch

from compressor.couplings.ledger import Ledger
from compressor.couplings.meeting import broadcast_party, meet
from compressor.couplings.sheets import Sheet, Value, varying

from .calls import labelled, units_of

SHAPE = (2, 6, 5)
ALL = frozenset(range(3))


def met(ledger, *values, shared=ALL):
    return meet(ledger, [broadcast_party(value, SHAPE) for value in values], shared)


def test_party_is_broadcast_from_the_last_axis():
    party = broadcast_party(labelled(Ledger(), (6, 1), (0,)), SHAPE)
    assert party.sheets[0].labels.shape == SHAPE
    assert party.sheets[0].axes == (1,)
    assert party.extends == {1}


def test_sheets_along_one_axis_unite():
    ledger = Ledger()
    first, second = labelled(ledger, SHAPE), labelled(ledger, SHAPE, (1,), False)
    (joined,) = met(ledger, first, second)
    assert joined.zeros == (True, False)
    classes = units_of(ledger).of_label
    assert torch.equal(classes[:6], classes[6:])


def test_sheets_along_different_axes_stay_apart():
    ledger = Ledger()
    rows, columns = labelled(ledger, SHAPE, (1, 2)), labelled(ledger, SHAPE, (1, 2))
    joined = met(ledger, rows, columns)
    assert [entry.zeros for entry in joined] == [(True, True), (True, True)]
    classes = units_of(ledger)
    assert len(set(classes.of_label.tolist())) == 11
    assert not classes.reasons


def test_party_of_size_one_has_no_say():
    ledger = Ledger()
    (joined,) = met(ledger, labelled(ledger, SHAPE), Value((2, 1, 5)))
    assert joined.zeros == (True, None)
    assert not units_of(ledger).reasons


@pytest.mark.parametrize("shape", [(2, 6, 1), (6, 5), SHAPE])
def test_party_of_the_same_size_without_labels_holds_units(shape):
    ledger = Ledger()
    assert met(ledger, labelled(ledger, SHAPE), Value(shape)) == []
    assert set(units_of(ledger).reasons) == set(range(6))


def test_axis_that_is_not_shared_holds_nothing():
    ledger = Ledger()
    (joined,) = met(ledger, labelled(ledger, SHAPE), Value(SHAPE), shared=frozenset({0, 2}))
    assert joined.zeros == (True, None)
    assert not units_of(ledger).reasons


def test_vector_along_the_rows_of_a_joint_sheet_leaves_rows():
    ledger = Ledger()
    joint = Value(SHAPE, (Sheet(ledger.own("joint", 0, 30).view(1, 6, 5).expand(SHAPE), True),))
    (joined,) = met(ledger, joint, labelled(ledger, (6, 1), (0,)))
    classes = units_of(ledger)
    assert joined.zeros == (True, True)
    assert len(set(classes.of_label.tolist())) == 6
    assert not classes.reasons


def test_vector_along_the_columns_of_a_joint_sheet_stays_whole():
    ledger = Ledger()
    joint = Value(SHAPE, (Sheet(ledger.own("joint", 0, 30).view(1, 6, 5).expand(SHAPE), True),))
    (joined,) = met(ledger, joint, labelled(ledger, (5,), (0,)))
    classes = units_of(ledger)
    assert joined.zeros == (True, None)
    assert len(set(classes.of_label[:30].tolist())) == 6
    assert set(classes.reasons.values()) == {
        "rows leave together there, and these are columns in the network"
    }
    assert not set(classes.of_label[:30].tolist()) & set(classes.reasons)


def test_value_along_columns_without_labels_collapses_a_joint_sheet_to_rows():
    ledger = Ledger()
    joint = Value(SHAPE, (Sheet(ledger.own("joint", 0, 30).view(1, 6, 5).expand(SHAPE), True),))
    (joined,) = met(ledger, joint, Value((5,)))
    assert joined.zeros == (True, None)
    assert len(set(units_of(ledger).of_label.tolist())) == 6
    assert varying(joined.labels) == (1,)

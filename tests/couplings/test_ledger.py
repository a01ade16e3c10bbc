"""What is written down of labels: unions, frozen ones, owners and roles."""

import pytest
import torch

from compressor.couplings.classes import classes_of
from compressor.couplings.flow import Flow
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import NO_LABEL, Sheet, Value, along_axis

PLACE = "layer (op)"


@pytest.fixture
def ledger():
    return Ledger(place=PLACE)


def classes(ledger):
    return classes_of(Flow(ledger)).of_label.tolist()


def frozen(ledger):
    return {label: reason for labels, reason in ledger.frozen for label in labels.tolist()}


def test_fresh_labels_are_nobody_elses(ledger):
    first, second = ledger.fresh(3), ledger.fresh(2)
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4])
    assert ledger.num_labels == 5


def test_united_labels_are_one_class_each(ledger):
    first, second = ledger.fresh(3), ledger.fresh(3)
    ledger.unite(first, second)
    found = classes(ledger)
    assert found[:3] == found[3:]
    assert len(set(found)) == 3


def test_union_goes_on_through_a_third_label(ledger):
    labels = ledger.fresh(4)
    ledger.unite(labels[:1], labels[1:2])
    ledger.unite(labels[1:2], labels[2:3])
    found = classes(ledger)
    assert found[0] == found[1] == found[2] != found[3]


@pytest.mark.parametrize("swapped", [False, True])
def test_label_that_meets_an_element_without_one_stays(ledger, swapped):
    labels = ledger.fresh(3)
    other = torch.tensor([0, NO_LABEL, NO_LABEL])
    ledger.unite(*((other, labels) if swapped else (labels, other)))
    assert set(frozen(ledger)) == {1, 2}
    assert set(frozen(ledger).values()) == {f"they meet values that keep their width in {PLACE}"}
    assert ledger.edges == []


def test_attached_labels_mind_no_element_without_one(ledger):
    labels, read = ledger.fresh(3), ledger.fresh(3)
    ledger.attach(labels, torch.where(read == 4, NO_LABEL, read))
    found = classes(ledger)
    assert [found[i] == found[i + 3] for i in range(3)] == [True, False, True]
    assert ledger.frozen == []


def test_arrays_meet_by_place_without_being_written_out(ledger):
    shape = (2**20, 4, 2**20)
    first, second = (along_axis(ledger.fresh(4), 1, shape) for _ in range(2))
    ledger.unite(first, second)
    assert [len(one) for one, _ in ledger.edges] == [4]


def test_each_pair_is_written_once(ledger):
    labels = ledger.fresh(4)
    ledger.unite(labels[:2].repeat(50), labels[2:].repeat(50))
    assert sum(len(one) for one, _ in ledger.edges) == 2


def test_elements_without_label_are_not_frozen(ledger):
    ledger.freeze(torch.tensor([NO_LABEL, 2, NO_LABEL]), "why")
    assert frozen(ledger) == {2: "why"}


def test_frozen_sheet_names_the_operator(ledger):
    ledger.freeze_sheet(Sheet(ledger.fresh(2), zero=True), "mean runs over them")
    assert frozen(ledger) == dict.fromkeys((0, 1), f"mean runs over them in {PLACE}")


def test_collapsed_axis_is_one_unit(ledger):
    sheet = Sheet(ledger.fresh(6).view(2, 3), zero=True)
    flat = ledger.collapse(sheet, [1])
    assert flat.axes == (0,)
    assert flat.zero
    assert torch.tensor(classes(ledger)).view(2, 3).float().std(1).tolist() == [0, 0]
    assert len(set(classes(ledger))) == 2


def test_nothing_collapses_along_axes_without_change(ledger):
    sheet = Sheet(along_axis(ledger.fresh(3), 0, (3, 5)), zero=True)
    assert ledger.collapse(sheet, [1]) is sheet
    assert ledger.edges == []


def test_role_is_written_to_the_tensor_that_brought_the_labels_in(ledger):
    tensors = {
        name: Value((4, 2), (Sheet(along_axis(ledger.own(name, 0, 4), 0, (4, 2)), zero=True),))
        for name in ("first", "second", "third")
    }
    ledger.reads(tensors["second"], 0, "filter")
    ledger.reads_if_bare(tensors["second"], 0, "scale")
    ledger.reads_if_bare(tensors["third"], 0, "scale")
    ledger.reads_if_bare(tensors["third"], 1, "filter")
    assert [ledger.role(owned) for owned in ledger.owned] == ["shift", "filter", "scale"]


def test_owner_is_found_though_some_elements_have_no_label(ledger):
    ledger.own("first", 0, 3)
    labels = ledger.own("second", 0, 3)
    padded = torch.cat([torch.tensor([NO_LABEL]), labels])
    ledger.reads(Value((4,), (Sheet(padded, zero=True),)), 0, "filter")
    assert [ledger.role(owned) for owned in ledger.owned] == ["shift", "filter"]

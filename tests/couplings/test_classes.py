"""Classes of labels become units, and alike units a coupling."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from compressor.couplings.classes import Classes, classes_of
from compressor.couplings.flow import Flow
from compressor.couplings.index_flow import index_flow
from compressor.couplings.ledger import Ledger
from compressor.couplings.sheets import NO_LABEL, Sheet, Value

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


def joint(ledger, *shape):
    """A value whose every element has a label of its own."""
    labels = ledger.fresh(torch.Size(shape).numel()).view(shape)
    return Value(shape, (Sheet(labels, zero=True),))


def numbers(ledger, *values):
    return classes_of(Flow(ledger, dict(enumerate(values)))).of_label


def members(coupling):
    return {(m.tensor, m.axis): (m.kind, m.index.tolist()) for m in coupling.members}


def free(model, example=IMAGES):
    return {coupling.name: coupling for coupling in index_flow(model, example).free}


@pytest.mark.parametrize(("shape", "axis"), [((4, 3), 0), ((3, 4), 1), ((2, 4, 3), 1)])
def test_array_that_changes_along_several_axes_leaves_rows_of_the_longest(shape, axis):
    ledger = Ledger()
    value = joint(ledger, *shape)
    found = numbers(ledger, value).view(shape).movedim(axis, 0).flatten(1)
    assert all(len(set(row.tolist())) == 1 for row in found)
    assert len(set(found[:, 0].tolist())) == shape[axis]


def test_array_whose_rows_are_united_already_is_left_alone():
    ledger = Ledger()
    value = joint(ledger, 2, 5)
    labels = value.sheets[0].labels
    ledger.unite(labels, labels[:, :1].expand(2, 5))
    assert len(set(numbers(ledger, value).tolist())) == 2


def test_array_with_elements_that_no_unit_owns_is_resolved_and_they_freeze_what_they_meet():
    """Of positions relative to each other, say, where some of a row are padding."""
    ledger = Ledger()
    labels = ledger.fresh(6).view(2, 3).clone()
    labels[0, 2] = NO_LABEL
    classes = classes_of(Flow(ledger, {0: Value((2, 3), (Sheet(labels, zero=True),))}))
    frozen = set(classes.reasons)
    assert {int(classes.of_label[5])} <= frozen
    assert len(set(classes.of_label.tolist())) < 6


def test_two_arrays_are_resolved_until_both_hold():
    ledger = Ledger()
    first, second = joint(ledger, 4, 3), joint(ledger, 4, 3)
    ledger.unite(first.sheets[0].labels[:, 0], second.sheets[0].labels[:, 0])
    found = numbers(ledger, first, second).view(2, 4, 3)
    assert torch.equal(found[0], found[1])
    assert len(set(found.flatten().tolist())) == 4


def test_class_is_frozen_with_the_first_reason_of_any_of_its_labels():
    ledger = Ledger()
    labels = ledger.fresh(4)
    ledger.unite(labels[:2], labels[2:])
    ledger.freeze(labels[3:], "first")
    ledger.freeze(labels[1:2], "second")
    classes = classes_of(Flow(ledger))
    assert classes.reasons == {int(classes.of_label[1]): "first"}


def test_elements_without_label_have_no_class():
    classes = Classes(torch.tensor([4, 7]), {})
    assert classes.of(torch.tensor([1, NO_LABEL, 0])).tolist() == [7, NO_LABEL, 4]


def test_coupling_has_all_that_leaves_with_its_units():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 2)
    )
    found = members(free(net)["0"])
    singles = [[unit] for unit in range(6)]
    assert found == {
        ("0.weight", 0): ("filter", singles),
        ("0.bias", 0): ("bias", singles),
        ("1.weight", 0): ("scale", singles),
        ("1.bias", 0): ("shift", singles),
        ("1.running_mean", 0): ("statistic", singles),
        ("1.running_var", 0): ("statistic", singles),
        ("4.weight", 1): ("input", torch.arange(216).view(6, 36).tolist()),
    }


class Attention(nn.Module):
    """Self-attention with one projection for all three, as in most transformers."""

    def __init__(self, heads):
        super().__init__()
        self.embed, self.qkv = nn.Linear(12, 12), nn.Linear(12, 36)
        self.out, self.head, self.heads = nn.Linear(12, 12), nn.Linear(12, 2), heads

    def forward(self, x):
        x = self.embed(x)
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.head(x + self.out(found.transpose(1, 2).reshape(batch, count, width)))


@pytest.mark.parametrize(("heads", "num_units"), [(4, 4), (6, 6)])
def test_heads_are_units_with_their_queries_keys_and_values(heads, num_units):
    found = free(Attention(heads), TOKENS)
    each = 12 // heads
    index = members(found["qkv"])["qkv.weight", 0][1]
    blocks = [
        [part * 12 + head * each + place for part in range(3) for place in range(each)]
        for head in range(heads)
    ]
    assert found["qkv"].num_units == num_units
    assert sorted(map(sorted, index)) == sorted(map(sorted, blocks))
    assert members(found["qkv"])["out.weight", 1][0] == "input"


def test_residual_stream_is_one_coupling_of_all_its_layers():
    found = free(Attention(4), TOKENS)["embed"]
    assert {key: kind for key, (kind, _) in members(found).items()} == {
        ("embed.weight", 0): "filter",
        ("embed.bias", 0): "bias",
        ("qkv.weight", 1): "input",
        ("out.weight", 0): "filter",
        ("out.bias", 0): "bias",
        ("head.weight", 1): "input",
    }


class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.first(x)
        batch, channels, *size = x.shape
        x = x.view(batch, 2, channels // 2, *size).transpose(1, 2).reshape(batch, channels, *size)
        return self.head(x)


def test_shuffled_channels_leave_from_each_group_at_once():
    coupling = free(Shuffled())["first"]
    found = members(coupling)
    assert found["first.weight", 0][1] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert found["head.weight", 1][1] == [[0, 1], [2, 3], [4, 5], [6, 7]]


class Parts(nn.Module):
    """Some channels of one layer go one way, the others another."""

    def __init__(self):
        super().__init__()
        self.first, self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1)

    def forward(self, x):
        x = self.first(x)
        return self.one(x[:, :3]) + self.two(x[:, 3:]), x[:, 4:5].mean(1)


def test_units_with_other_readers_are_another_coupling_of_the_same_layer():
    couplings = index_flow(Parts(), IMAGES)
    found = {c.name: members(c)["first.weight", 0][1] for c in couplings.free}
    assert found == {"first": [[0], [1], [2]], "first#2": [[3], [5], [6], [7]]}
    (alone,) = (frozen for frozen in couplings.frozen if frozen.name == "first#3")
    assert alone.num_units == 1
    assert alone.reason.startswith("the only one of its axis in the forward pass (slice_")


def test_parameters_that_no_layer_produces_units_for_are_no_coupling():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain, self.head = nn.Parameter(torch.ones(3, 1, 1)), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.head(x * self.gain)

    couplings = index_flow(Scaled(), IMAGES)
    assert couplings.free == ()
    assert [frozen.name for frozen in couplings.frozen] == ["head"]

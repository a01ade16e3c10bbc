"""Labels on their way through captured networks."""

import pytest
import torch
from torch import nn

from compressor.couplings.capture import capture
from compressor.couplings.coupling import first_names
from compressor.couplings.elementwise import NOT_ZERO_AT_ZERO, ZERO_AT_ZERO
from compressor.couplings.flow import flow, place_of
from compressor.couplings.index_flow import index_flow
from compressor.couplings.ledger import Ledger
from compressor.couplings.rules import RULES
from compressor.couplings.sheets import Value

from .calls import apply_rule, aten, labelled, units_of

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A convolution, what the test does to its channels, and a reader of them."""

    def __init__(self, between, **layers):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)
        self.between = between
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.head(self.between(self, self.first(x)))


def walked(net, example=IMAGES):
    return flow(capture(net, example), first_names(net))


def reasons(net, example=IMAGES):
    couplings = index_flow(net, example)
    return {f.name: f.reason for f in couplings.frozen if "output of" not in f.reason}


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_is_for_an_operator_that_exists(name):
    known = [spelling for spelling in (name, f"_{name}", f"__{name}__") if hasattr(aten, spelling)]
    assert known
    assert not name.startswith("_")
    assert not name.endswith("_")


def test_no_function_is_both_zero_and_not_zero_at_zero():
    assert not ZERO_AT_ZERO & NOT_ZERO_AT_ZERO


def test_each_axis_of_each_parameter_brings_labels_of_its_own():
    result = walked(Net(lambda _, x: x))
    owned = [(owned.name, owned.axis, len(owned.labels)) for owned in result.ledger.owned]
    assert owned == [
        ("first.weight", 0, 6),
        ("first.weight", 1, 3),
        ("first.bias", 0, 6),
        ("head.weight", 0, 4),
        ("head.weight", 1, 6),
        ("head.bias", 0, 4),
    ]
    labels = torch.cat([owned.labels for owned in result.ledger.owned])
    assert labels.tolist() == list(range(29))


def test_sheets_have_the_shapes_of_the_tensors():
    result = walked(Net(lambda _, x: torch.cat(x.chunk(2, 1), 2).repeat(1, 2, 1, 1)[:, :, :6]))
    values = [value for value in result.values.values() if isinstance(value, Value)]
    assert values
    for value in values:
        assert all(sheet.labels.shape == value.shape for sheet in value.sheets)


def test_output_of_the_network_stays():
    couplings = index_flow(nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU()), IMAGES)
    assert [(f.name, f.num_units, f.reason) for f in couplings.frozen] == [
        ("0", 6, "these channels are an output of the network")
    ]


def test_operator_without_a_rule_is_named_with_its_module():
    class Gathers(nn.Module):
        def forward(self, x):
            return x.gather(1, torch.zeros_like(x, dtype=torch.int64))

    net = Net(lambda net, x: net.pick(x), pick=Gathers())
    assert walked(net).unknown == {"gather": "pick (gather)"}
    assert reasons(net) == {"first": "the operator gather (pick (gather)) has no rule"}


def test_operator_without_a_rule_that_no_label_reaches_is_no_matter():
    def forward(_, x):
        return x * torch.zeros(4, dtype=torch.int64).gather(0, torch.tensor([0])).add(1)

    net = Net(forward)
    assert walked(net).unknown == {}
    assert reasons(net) == {}


def test_place_is_the_innermost_module():
    net = Net(lambda net, x: net.body(x), body=nn.Sequential(nn.ReLU(), nn.Sigmoid()))
    places = [place_of(n) for n in capture(net, IMAGES).graph.nodes if n.op == "call_function"]
    assert "body.1 (sigmoid)" in places


def test_forward_without_module_has_a_name():
    net = Net(lambda _, x: x.mean(1, keepdim=True) + x)
    assert reasons(net)["first"] == "mean runs over them in the forward pass (mean)"


def test_buffers_leave_with_their_unit_but_are_not_zero():
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.ones(6, 1, 1))

        def forward(self, x):
            return x + self.shift

    result = walked(Net(lambda net, x: net.gain(x).sum(1, keepdim=True) + x, gain=Gain()))
    shift = next(v for n, v in result.values.items() if n.name.endswith("shift"))
    assert [sheet.zero for sheet in shift.sheets] == [False]
    frozen = {reason for _, reason in result.ledger.frozen}
    assert "sum runs over them in the forward pass (sum_1)" in frozen


def test_integers_of_the_network_are_constants():
    class Picks(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("place", torch.tensor([5, 0, 1, 2, 3, 4]))

        def forward(self, x):
            return x[:, self.place]

    result = walked(Net(lambda net, x: net.pick(x), pick=Picks()))
    read = next(v for n, v in result.values.items() if n.name == "index")
    assert read.sheets[0].labels[0, :, 0, 0].tolist() == [5, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(("number", "num_frozen"), [(0, 0), (1.5, 6)])
def test_channels_that_are_overwritten_stay_unless_with_zeros(number, num_frozen):
    ledger = Ledger()
    value = labelled(ledger, (2, 6, 4))
    result = apply_rule(ledger, aten.fill.Scalar, value, number)
    assert len(units_of(ledger).reasons) == num_frozen
    assert bool(result.sheets) == (num_frozen == 0)


def test_new_tensors_have_no_units_and_counted_ones_are_known():
    counted = apply_rule(Ledger(), aten.arange.default, 4)
    filled = apply_rule(Ledger(), aten.zeros.default, [2, 3])
    assert counted.constant.tolist() == [0, 1, 2, 3]
    assert (filled.shape, filled.sheets, filled.constant) == ((2, 3), (), None)


def test_model_is_not_touched():
    net = Net(lambda _, x: x).train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    index_flow(net, IMAGES)
    assert net.training
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())

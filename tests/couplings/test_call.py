"""Operator calls of a captured graph, read by the names of their arguments."""

import pytest
import torch
from torch import nn

from compressor.couplings.call import call_of, concrete, operator_name, shapes_of
from compressor.couplings.capture import capture
from compressor.couplings.sheets import Value

from .calls import aten, make_call


class Net(nn.Module):
    def forward(self, x):
        wide, narrow = torch.split(x * 2, [3, 1], dim=1)
        return wide.reshape(x.shape[0] * 3, -1).clamp(min=0), narrow


@pytest.fixture(scope="module")
def nodes():
    graph = capture(Net(), torch.randn(3, 4, 2)).graph
    return {node.name: node for node in graph.nodes}


def node_of(nodes, name):
    return next(n for n in nodes.values() if n.op == "call_function" and name in str(n.target))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (aten.conv2d.default, "conv2d"),
        (aten.conv2d.padding, "conv2d"),
        (aten.relu_.default, "relu"),
        (aten.add_.Tensor, "add"),
        (aten._to_copy.default, "to_copy"),
        (aten._unsafe_view.default, "unsafe_view"),
        (aten.__and__.Tensor, "and"),
        (torch.sym_max, "sym_max"),
    ],
)
def test_operator_has_one_name_in_place_or_not(target, name):
    assert operator_name(target) == name


def test_arguments_stand_under_the_names_of_the_schema(nodes):
    node = node_of(nodes, "split_with_sizes")
    call = call_of(node, dict.fromkeys(nodes.values(), Value((3, 4, 2))))
    assert call.name == "split_with_sizes"
    assert call["self"] == Value((3, 4, 2))
    assert call["split_sizes"] == [3, 1]
    assert call["dim"] == 1
    assert call.get("groups") is None
    assert call.shapes == ((3, 3, 2), (3, 1, 2))


def test_arguments_that_are_left_out_have_their_default(nodes):
    call = call_of(node_of(nodes, "clamp"), dict.fromkeys(nodes.values(), Value((9, 2))))
    assert call["min"] == 0
    assert "max" in call.arguments
    assert call["max"] is None


def test_symbolic_sizes_are_those_of_the_batch(nodes):
    node = node_of(nodes, "reshape")
    assert shapes_of(node) == ((9, 2),)
    symbolic = node.meta["val"].shape[0]
    assert isinstance(symbolic, torch.SymInt)
    assert concrete(symbolic) == 9
    assert concrete("same") == "same"


def test_tensors_are_found_in_lists_as_well():
    first, second = Value((2, 3)), Value((2, 4))
    call = make_call(aten.cat.default, [first, second], -1)
    assert call.values == [first, second]
    assert call.shape == (2, 7)
    assert call.axis("dim", 2) == 1


def test_argument_that_is_missing_is_a_mistake_of_the_rule():
    with pytest.raises(KeyError, match="groups"):
        make_call(aten.relu.default, Value((2, 3)))["groups"]

"""Which values are exactly zero once parameters are: the rules against the operators themselves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressor.strip.graph import captured_network
from compressor.strip.zeros import zero_makers


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


class Ended(nn.Module):
    """What a weight gives, ended by the test's own operators."""

    def __init__(self, end) -> None:
        super().__init__()
        self.layer, self.end = nn.Conv2d(3, 4, 1), end
        self.norm, self.other = nn.GroupNorm(2, 4), nn.Parameter(draw(4, 4))
        nn.init.ones_(self.norm.bias)  # a shift that starts at zero would hide what it does

    def forward(self, x):
        return self.end(self, self.layer(x))


def graph_of(end):
    net = Ended(end).eval()
    return net, captured_network(net, draw(2, 3, 4, 4), ()).graph


KEEPS_ZERO = {
    "relu": lambda _, y: F.relu6(F.gelu(y)),
    "pool": lambda _, y: F.avg_pool2d(F.max_pool2d(y, 2, padding=1), 2),
    "movement": lambda _, y: torch.chunk(y.permute(0, 2, 3, 1).flatten(1), 2, dim=1)[1],
    "product": lambda _, y: y * torch.sigmoid(y.mean(dim=(2, 3), keepdim=True)),
    "matmul": lambda net, y: y @ net.other,
    "linear": lambda net, y: F.linear(y, net.other),
    "half": lambda _, y: y / 2 + 0,
    "pad": lambda _, y: F.pad(y, (1, 1)),
    "cat": lambda _, y: torch.cat([y, F.silu(y)], dim=1),
    "sum": lambda _, y: y - y.flip(1),
    "value": lambda net, y: F.scaled_dot_product_attention(net.other + y.cos(), y.cos(), y),
}
LOSES_ZERO = {
    "sigmoid": lambda _, y: torch.sigmoid(y),
    "number": lambda _, y: y + 1,
    "parameter": lambda net, y: y + net.other,
    "norm": lambda net, y: net.norm(y),
    "clamp": lambda _, y: y.clamp(min=0.5),
    "pad": lambda _, y: F.pad(y, (1, 1), value=1.0),
    "cat": lambda _, y: torch.cat([y, y.exp()], dim=1),
    "query": lambda _, y: F.scaled_dot_product_attention(y, y.cos(), y.cos()),
}


def ends_at_zero(end):
    """What the rules say, and what the network does, once the layer is zero."""
    net, graph = graph_of(end)
    (output,) = [node.all_input_nodes[0] for node in graph.nodes if node.op == "output"]
    said = output in zero_makers(graph.nodes, {"layer.weight", "layer.bias"})
    nn.init.zeros_(net.layer.weight)
    nn.init.zeros_(net.layer.bias)
    return said, not net(draw(2, 3, 4, 4)).any()


@pytest.mark.parametrize("name", KEEPS_ZERO)
def test_zero_goes_through(name):
    assert ends_at_zero(KEEPS_ZERO[name]) == (True, True)


@pytest.mark.parametrize("name", LOSES_ZERO)
def test_zero_ends_where_something_is_added_or_computed_from_it(name):
    assert ends_at_zero(LOSES_ZERO[name]) == (False, False)


@pytest.mark.parametrize(
    ("end", "makers"),
    [
        (lambda _, y: y, {"layer.weight", "layer.bias"}),
        (lambda net, y: net.norm(y), {"norm.weight", "norm.bias"}),
        (lambda net, y: net.other * net.norm(y), {"other"}),
        (lambda net, y: y + net.other, {"layer.weight", "layer.bias", "other"}),
        (lambda _, y: y.exp(), None),
    ],
)
def test_makers_are_the_fewest_parameters_that_make_it_zero(end, makers):
    _, graph = graph_of(end)
    (output,) = [node.all_input_nodes[0] for node in graph.nodes if node.op == "output"]
    parameters = {"layer.weight", "layer.bias", "norm.weight", "norm.bias", "other"}
    assert zero_makers(graph.nodes, parameters).get(output) == makers

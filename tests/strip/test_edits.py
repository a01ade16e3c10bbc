"""Constants of a captured graph follow the widths: each editor on a network captured for real."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from compressor.couplings.coupling import mask_
from compressor.couplings.index_flow import index_flow
from compressor.errors import StripError
from compressor.strip.apply import apply
from compressor.strip.edits import EDITORS, Edit, edits_of
from compressor.strip.plan import make_plan
from compressor.strip.trial import shake
from compressor.structure import Structure


class Net(nn.Module):
    """Eight channels, what the test does to them, and a head; ``layers`` are the test's."""

    def __init__(self, between, layers):
        super().__init__()
        self.first, self.between = nn.Conv2d(3, 8, 1), between
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.head = nn.LazyLinear(4)

    def forward(self, x):
        return self.head(self.between(self, self.first(x)).flatten(1))


def draw(num_images, seed=0):
    return torch.randn(num_images, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def made(between, **layers):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net(between, layers)
        net(draw(2))
    return shake(net, draw(3), seed=1).double()


def cut(net, keep):
    """The slim graph, the masked network, and all edits, with ``keep`` of the named couplings."""
    couplings = replace(index_flow(net, draw(3).double()), form="graph")
    keep = {name: torch.tensor(units).bool() for name, units in keep.items()}
    structure = Structure({**couplings.everything().keep, **keep})
    plan = make_plan(net, couplings, structure)
    slim = apply(plan, net).eval()
    mask_(net, couplings, structure)
    return slim, net, plan.edits


def difference(slim, masked, num_images):
    images = draw(num_images, seed=num_images).double()
    with torch.no_grad():
        return float((slim(images) - masked(images)).abs().max())


def heads(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    parts = [
        part.view(x.shape[0], 16, 4, 2).transpose(1, 2) for part in net.qkv(tokens).chunk(3, 2)
    ]
    return functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(-1, 16, 8)


def one_head(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    query, key, value = net.query(tokens), net.key(tokens), net.value(tokens)
    return functional.scaled_dot_product_attention(query, key, value)


def last(net, x):
    return x.permute(0, 2, 3, 1)


FIVE = [1, 0, 1, 1, 0, 1, 0, 1]
HALF = [1, 0, 1, 0]

CASES = {
    "view": (
        lambda _, x: x.view(x.shape[0], 8, 16),
        {},
        {"first": FIVE},
        {("view", "size", 1, 5)},
    ),
    "view of batch times width": (
        lambda _, x: x.view(x.shape[0] * 8, 16).tanh().view(x.shape[0], -1),
        {},
        {"first": FIVE},
        {("view", "size", 0, -1)},
    ),
    "reshape": (
        lambda _, x: x.reshape(-1, 8 * 16),
        {},
        {"first": FIVE},
        {("reshape", "shape", 1, 80)},
    ),
    "expand": (
        lambda _, x: x.unsqueeze(2).expand(x.shape[0], 8, 2, 4, 4).flatten(1, 2),
        {},
        {"first": FIVE},
        {("expand", "size", 1, 5)},
    ),
    "unflatten": (
        lambda _, x: x.unflatten(1, (4, 2)).mean(2),
        {},
        {"first": HALF},
        {("unflatten", "sizes", 0, 2)},
    ),
    "slice": (
        lambda _, x: x[:, 2:6],
        {},
        {"first#2": HALF, "first": [1, 0, 0, 1]},
        {("slice", "start", None, 1), ("slice", "end", None, 3)},
    ),
    "slice from the end": (
        lambda _, x: x[:, -6:-2],
        {},
        {"first#2": HALF, "first": [1, 0, 0, 1]},
        {("slice", "start", None, 1), ("slice", "end", None, 3)},
    ),
    "select": (
        lambda _, x: x[:, 3] + x[:, -1],
        {},
        {"first": [1, 0, 1, 0, 1, 1]},
        {("select", "index", None, 2), ("select", "index", None, 5)},
    ),
    "narrow": (
        lambda _, x: x.narrow(1, 2, 4),
        {},
        {"first#2": HALF, "first": [1, 0, 0, 1]},
        {("narrow", "start", None, 1), ("narrow", "length", None, 2)},
    ),
    "split by sizes": (
        lambda _, x: torch.cat(x.split([3, 5], 1)[::-1], 1),
        {},
        {"first": FIVE},
        {("split_with_sizes", "split_sizes", 0, 2), ("split_with_sizes", "split_sizes", 1, 3)},
    ),
    "split by size": (
        lambda _, x: x.split(2, 1)[0] + x.split(2, 1)[3],
        {},
        {"first": [0, 1]},
        {("split", "split_size", None, 1)},
    ),
    "depthwise convolution": (
        lambda net, x: net.g(x),
        {"g": nn.Conv2d(8, 8, 3, groups=8)},
        {"first": FIVE},
        {("conv2d", "groups", None, 5)},
    ),
    "whole groups": (
        lambda net, x: net.g(x),
        {"g": nn.Conv2d(8, 8, 3, groups=4)},
        {"first": HALF},
        {("conv2d", "groups", None, 2)},
    ),
    "places of groups": (
        lambda net, x: net.g(x),
        {"g": nn.Conv2d(8, 8, 3, groups=2)},
        {"first": HALF, "g": [0, 1, 1, 1]},
        set(),
    ),
    "layer norm": (
        lambda net, x: net.g(last(net, x)),
        {"g": nn.LayerNorm(8)},
        {"first": FIVE},
        {("layer_norm", "normalized_shape", 0, 5), ("layer_norm", "divisor", None, 8)},
    ),
    "rms norm": (
        lambda net, x: net.g(last(net, x)),
        {"g": nn.RMSNorm(8)},
        {"first": FIVE},
        {("rms_norm", "normalized_shape", 0, 5), ("rms_norm", "divisor", None, 8)},
    ),
    "group norm by groups": (
        lambda net, x: net.g(x),
        {"g": nn.GroupNorm(4, 8)},
        {"first": HALF},
        {("group_norm", "num_groups", None, 2)},
    ),
    "group norm by places": (
        lambda net, x: net.g(x),
        {"g": nn.GroupNorm(2, 8)},
        {"first": HALF},
        {("group_norm", "divisor", None, 4)},
    ),
    "norm without scale": (
        lambda net, x: net.g(net.norm(last(net, x))),
        {"norm": nn.LayerNorm(8, elementwise_affine=False), "g": nn.Linear(8, 2)},
        {"first": FIVE},
        {("layer_norm", "normalized_shape", 0, 5), ("layer_norm", "divisor", None, 8)},
    ),
    "heads": (
        heads,
        {"qkv": nn.Linear(8, 24)},
        {"qkv": HALF},
        {("view", "size", 2, 2), ("reshape", "shape", 2, 4)},
    ),
    "entries of one head": (
        one_head,
        {"query": nn.Linear(8, 8), "key": nn.Linear(8, 8), "value": nn.Linear(8, 8)},
        {"query": FIVE},
        {("scaled_dot_product_attention", "scale", None, 1 / math.sqrt(8))},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_slim_graph_is_the_masked_network_at_any_batch_size(name):
    between, layers, keep, expected = CASES[name]
    slim, masked, edits = cut(made(between, **layers), keep)
    found = {(e.operator.split(".")[1], e.argument, e.place, e.value) for e in edits}
    assert found == expected
    assert difference(slim, masked, 1) < 1e-11
    assert difference(slim, masked, 5) < 1e-11
    assert sum(p.numel() for p in slim.parameters()) < sum(p.numel() for p in masked.parameters())


def test_every_editor_is_for_an_operator_that_exists():
    names = [name if hasattr(torch.ops.aten, name) else f"_{name}" for name in EDITORS]
    assert [name for name in names if not hasattr(torch.ops.aten, name)] == []


def test_nothing_is_edited_where_nothing_goes():
    between, layers, _, _ = CASES["heads"]
    assert cut(made(between, **layers), {})[2] == ()


def test_second_size_that_depends_on_the_batch_is_refused():
    net = made(lambda _, x: x.view(x.shape[0] * 8, -1).view(x.shape[0], -1))
    with pytest.raises(StripError, match="two sizes that depend on the batch") as error:
        cut(net, {"first": FIVE})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", [None, 2])
def test_edit_survives_json(place):
    edit = Edit("view_3", "aten.view.default", "size", place, 5)
    assert Edit.from_json(edit.to_json()) == edit


def test_plan_of_a_graph_has_its_edits():
    between, layers, keep, _ = CASES["layer norm"]
    net = made(between, **layers)
    couplings = index_flow(net, draw(3).double())
    kept = {**couplings.everything().keep, "first": torch.tensor(keep["first"]).bool()}
    plan = make_plan(net, replace(couplings, form="graph"), Structure(kept))
    assert edits_of(couplings.program, kept) == plan.edits

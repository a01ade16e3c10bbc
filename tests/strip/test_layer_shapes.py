"""Shapes of layers as an engine sees them."""

import pytest
import torch
from torch import nn

from compressor.count import layer_macs
from compressor.strip.layer_shapes import LayerShape, layer_shapes


class Net(nn.Module):
    """Ordinary, strided, depthwise, grouped and shared layers, and vectors."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, dilation=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 1, groups=4)
        self.twice = nn.Conv2d(12, 12, (3, 1), padding=(1, 0))
        self.tokens = nn.Linear(12, 20)
        self.head = nn.Linear(20, 4)
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        x = self.grouped(self.depthwise(self.stem(x)))
        x = self.twice(self.twice(x))
        return self.head(self.tokens(x.flatten(2).mT).mean(1))


@pytest.fixture(scope="module")
def shapes():
    return layer_shapes(Net(), torch.zeros(3, 3, 16, 16))


def test_every_call_of_a_layer_is_there_and_none_of_idle_ones(shapes):
    used = {name: len(found) for name, found in shapes.items()}
    names = ["stem", "depthwise", "grouped", "twice", "tokens", "head"]
    assert used == {f"{n}.weight": 1 for n in names} | {"twice.weight": 2}


def test_positions_and_widths_give_the_macs_of_one_image(shapes):
    macs = layer_macs(Net(), torch.zeros(2, 3, 16, 16))
    for name, found in shapes.items():
        one = [
            s.positions * s.out * s.into * (s.kernel[0] * s.kernel[1] if s.kernel else 1)
            for s in found
        ]
        assert sum(one) == macs[name.removesuffix(".weight")]


def test_a_depthwise_layer_loses_groups_with_its_channels(shapes):
    (depthwise,) = shapes["depthwise.weight"]
    narrow = depthwise.at(6, 1)
    assert (narrow.groups, narrow.in_channels, narrow.out) == (6, 6, 6)


def test_a_grouped_layer_keeps_its_groups(shapes):
    (grouped,) = shapes["grouped.weight"]
    narrow = grouped.at(8, 1)
    assert (narrow.groups, narrow.in_channels) == (4, 4)


def test_names_are_equal_for_equal_shapes_only(shapes):
    every = {shape for found in shapes.values() for shape in found}
    every |= {shape.at(4, shape.into) for shape in every}
    assert len({shape.name for shape in every}) == len(every)


def test_the_network_is_left_as_it_was():
    net = Net().train()
    layer_shapes(net, torch.zeros(1, 3, 16, 16))
    assert net.training
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_vectors_of_one_image_are_its_positions():
    assert LayerShape(20, 12, (64,)).positions == 64

"""Residual branches that are zero go as blocks, and nothing else changes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import zero_branches_
from compressor.couplings.index_flow import index_flow
from compressor.couplings.trace import trace
from compressor.errors import StripError
from compressor.strip.certificate import certify
from compressor.strip.depth import (
    compare_without,
    removable_branches,
    remove_branches,
)
from compressor.strip.find import find_couplings
from compressor.strip.trial import shake
from compressor.structure import Structure


def layer(inputs, outputs, **more):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **more), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """A stem, two residual blocks with activations in place, one with a projection, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer(3, 8)
        self.inner = nn.ModuleList([layer(8, 12), layer(8, 10), layer(8, 6)])
        self.outer = nn.ModuleList([layer(12, 8), layer(10, 8), layer(6, 8)])
        self.project, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu_(self.stem(x))
        for number in range(3):
            branch = self.outer[number](torch.relu_(self.inner[number](x)))
            x = self.project(x) if number == 2 else x
            x = torch.relu_(branch.add_(x) if number else x + branch)
        return self.head(x.mean(dim=(2, 3)))


def built(kind, images, seed=0):
    """The network with norms that are far from the identity, and its couplings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = shake(kind(), images, seed=1)
    return net, index_flow(net, images)


@pytest.fixture(scope="module")
def residual(images):
    return built(Residual, images)


def test_branches_are_found_with_all_that_lies_in_them(residual):
    first, second = removable_branches(*residual)
    assert first.modules == (
        "inner.0",
        "inner.0.0",
        "inner.0.1",
        "outer.0",
        "outer.0.0",
        "outer.0.1",
    )
    assert first.couplings == ("inner.0.0",)
    assert first.last == ("outer.0.1.bias", "outer.0.1.weight")
    assert {"inner.0.0.weight", "outer.0.1.running_var"} < set(first.tensors)
    assert (first.operand, second.operand) == (1, 0)
    assert len({first.name, second.name}) == 2


@pytest.mark.parametrize("removed", [[0], [1], [0, 1]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_network_without_branches_is_the_one_in_which_they_are_zero(
    residual, images, removed, dtype
):
    net, couplings = residual
    branches = [removable_branches(net, couplings)[place] for place in removed]
    before = net(images)
    difference, spread = compare_without(net, couplings, branches, [images.to(dtype)])
    assert difference == 0
    assert spread > 1e-3
    assert torch.equal(net(images), before)


def test_removing_a_branch_that_is_not_zero_changes_the_outputs(residual, images):
    net, couplings = residual
    slim = remove_branches(net, couplings, removable_branches(net, couplings)[:1])
    assert (slim(images) - net(images)).abs().max() > 1e-3


def test_tensors_of_the_branch_are_gone_and_others_keep_their_names(residual, images):
    net, couplings = residual
    branch = removable_branches(net, couplings)[0]
    slim = remove_branches(net, couplings, [branch])
    left = {name for name, _ in slim.named_parameters()}
    assert left == {name for name, _ in net.named_parameters()} - set(branch.tensors)
    assert slim(images[:1]).shape == (1, 4)


def test_shallow_network_is_stripped_like_any_other(residual, images):
    net, couplings = residual
    slim = remove_branches(net, couplings, removable_branches(net, couplings))
    found = find_couplings(slim, images, "index-flow")
    assert {c.name for c in found.free} == {"stem.0", "inner.2.0", "outer.2.0"}
    keep = {c.name: torch.arange(c.num_units) % 2 == 0 for c in found.free}
    certify(slim, found, Structure(keep), [images]).check()


class PreActivation(nn.Module):
    """Nothing is behind the last convolution of a branch, and it has no bias."""

    def __init__(self, bias=False) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.wide = layer(8, 12)
        self.back, self.head = nn.Conv2d(12, 8, 1, bias=bias), nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.back(torch.relu(self.wide(torch.relu(self.norm(x)))))
        return self.head(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("bias", [False, True])
def test_coupling_without_units_empties_a_branch_only_if_no_shift_is_behind_it(images, bias):
    net, couplings = built(lambda: PreActivation(bias), images)
    (branch,) = removable_branches(net, couplings)
    assert branch.last == (("back.bias",) if bias else ()) + ("back.weight",)
    (coupling,) = [c for c in couplings.free if c.name == "wide.0"]
    tensors = dict(net.named_parameters())
    for member in coupling.members:
        if member.kind != "statistic":
            member.zero_(tensors[member.tensor].data, torch.ones(coupling.num_units) > 0)
    same = torch.allclose(remove_branches(net, couplings, [branch])(images), net(images))
    assert same == (not bias)


class Kept(Residual):
    """What goes into a block is read again, after the sum was written into."""

    def forward(self, x):
        x = self.stem(x)
        y = torch.relu_(x + self.outer[0](torch.relu(self.inner[0](x))))
        return self.head((y + x).mean(dim=(2, 3)))


def test_what_is_written_into_the_sum_does_not_reach_other_readers_of_the_skip(images):
    net, couplings = built(Kept, images)
    branch = removable_branches(net, couplings)[0]
    difference, _ = compare_without(net, couplings, [branch], [images])
    assert difference == 0


class Nested(Residual):
    """A residual branch inside a residual branch."""

    def forward(self, x):
        x = self.stem(x)
        inside = torch.relu(self.inner[0](x))
        inside = inside + self.inner[1](self.outer[0](inside)).repeat(1, 2, 1, 1)[:, :12]
        return self.head((x + self.outer[2](inside[:, :6])).mean(dim=(2, 3)))


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_branch_inside_another_goes_with_it(images, order):
    net, couplings = built(Nested, images)
    branches = removable_branches(net, couplings)[order]
    assert len(branches) == 2
    assert compare_without(net, couplings, branches, [images])[0] == 0


class Shared(Residual):
    """One layer ends two branches."""

    def forward(self, x):
        x = self.stem(x)
        x = x + self.outer[0](torch.relu(self.inner[0](x)))
        return self.head((x * self.outer[0](torch.relu(self.inner[0](x)))).mean(dim=(2, 3)))


class Activated(Residual):
    """A sigmoid ends the branch: it is never zero."""

    def forward(self, x):
        x = self.stem(x)
        x = x + torch.sigmoid(self.outer[0](torch.relu(self.inner[0](x))))
        return self.head(x.mean(dim=(2, 3)))


class TwoPaths(Residual):
    """Neither operand of the sum is computed from the other."""

    def forward(self, x):
        x = self.stem(x)
        return self.head((self.project(x) + self.outer[0](self.inner[0](x))).mean(dim=(2, 3)))


@pytest.mark.parametrize("kind", [Shared, Activated, TwoPaths])
def test_what_is_no_branch_that_can_be_zero_is_not_offered(images, kind):
    assert removable_branches(*built(kind, images)) == ()


class Transformer(nn.Module):
    """Attention and an MLP over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(24, 2, 16, batch_first=True, norm_first=True)
        self.gamma, self.extra = nn.Parameter(torch.rand(24)), nn.Linear(24, 24)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        x = self.block(x.flatten(2).transpose(1, 2).reshape(len(x), 8, 24))
        return self.head((x + self.gamma * self.extra(x)).mean(dim=1))


def test_attention_mlp_and_scaled_branches_each_go_alone(images):
    net, couplings = built(Transformer, images)
    branches = removable_branches(net, couplings)
    assert [branch.name for branch in branches] == ["block", "block#2", "the network"]
    assert branches[2].last == ("gamma",)
    for branch in branches:
        difference, spread = compare_without(net, couplings, [branch], [images.double()])
        assert difference <= 1e-15
        assert spread > 1e-3


def test_zeroing_branches_makes_nothing_else_zero(images):
    net, couplings = built(Residual, images, seed=2)
    branch = removable_branches(net, couplings)[0]
    before = {name: value.clone() for name, value in net.named_parameters()}
    zero_branches_(net, [branch])
    changed = {n for n, value in net.named_parameters() if not torch.equal(value, before[n])}
    assert changed == set(branch.last)


def test_branch_of_another_network_is_refused(residual, images):
    net, couplings = residual
    branch = replace(removable_branches(net, couplings)[0], node="add_77")
    with pytest.raises(StripError, match="ends in add_77 .*, which the captured graph lacks"):
        remove_branches(net, couplings, [branch])


def test_couplings_without_a_graph_are_refused(residual, images):
    net, _ = residual
    with pytest.raises(StripError, match="hold no captured graph.*Use the engine index-flow"):
        removable_branches(net, trace(net, images))

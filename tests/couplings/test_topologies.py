"""Every topology: traced and tried, then cut at random, it stays the network that it was."""

import copy
import zlib
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from compressor.count import count, layer_macs
from compressor.couplings.coupling import Couplings
from compressor.couplings.trace import trace
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, removed_units
from compressor.strip.certificate import compare
from compressor.strip.plan import make_plan
from compressor.strip.trial import freeze_what_fails, shake
from compressor.structure import Structure

from .topologies import TOPOLOGIES

EVERY_TOPOLOGY = pytest.mark.parametrize("name", TOPOLOGIES)
SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


def images(name: str, num_images: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_images, *TOPOLOGIES[name].shape, generator=generator)


def fresh(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode()))
        return TOPOLOGIES[name].build()


@cache
def network(name: str) -> nn.Module:
    """With shaken norms: those of a new network are the identity and hide mistakes."""
    return shake(fresh(name), images(name), seed=1)


@cache
def couplings_of(name: str) -> Couplings:
    net = fresh(name)
    return freeze_what_fails(net, trace(net, images(name)), images(name))


def random_structure(couplings: Couplings, seed: int) -> Structure:
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for coupling in couplings.free:
        keep[coupling.name] = torch.rand(coupling.num_units, generator=generator) < 0.6
        keep[coupling.name][torch.randint(coupling.num_units, (1,), generator=generator)] = True
    return Structure(keep)


@EVERY_TOPOLOGY
def test_couplings_are_free_or_frozen_by_name_and_reason(name):
    couplings, expected = couplings_of(name), TOPOLOGIES[name]
    assert tuple(coupling.name for coupling in couplings.free) == expected.free
    reasons = {frozen.name: frozen.reason for frozen in couplings.frozen}
    assert reasons.keys() == expected.frozen.keys()
    assert [key for key, piece in expected.frozen.items() if piece not in reasons[key]] == []


@SEEDS
@EVERY_TOPOLOGY
def test_stripped_equals_masked(name, seed):
    structure = random_structure(couplings_of(name), seed)
    inputs = [images(name, seed=seed).double(), 10 * images(name, seed=seed + 10).double()]
    difference, spread = compare(network(name), couplings_of(name), structure, inputs)
    assert difference <= 1e-10
    assert spread > 1e-7


@SEEDS
@EVERY_TOPOLOGY
def test_cost_in_closed_form_equals_the_counts_of_the_slim_network(name, seed):
    net, couplings = network(name), couplings_of(name)
    structure = random_structure(couplings, seed)
    slim = apply(make_plan(net, couplings, structure), net)
    cost, removed = Cost.of(net, couplings, layer_macs(net, images(name))), removed_units(structure)
    counts = count(slim, images(name))
    assert (cost.macs(removed), cost.params(removed)) == (counts.macs, counts.params)


@EVERY_TOPOLOGY
def test_slim_network_trains(name):
    structure = random_structure(couplings_of(name), seed=4)
    slim = apply(make_plan(network(name), couplings_of(name), structure), network(name)).train()
    slim(images(name)).square().sum().backward()
    unused = {"unused.weight"}
    untouched = {key for key, p in slim.named_parameters() if p.grad is None}
    assert untouched <= unused
    shapes = {
        key: (p.shape, p.grad.shape) for key, p in slim.named_parameters() if p.grad is not None
    }
    assert all(value == gradient for value, gradient in shapes.values())


@EVERY_TOPOLOGY
def test_original_network_is_left_as_it_was(name):
    net = fresh(name).train()
    next(iter(net.children())).eval()
    first = next(net.parameters()).requires_grad_(False)
    state = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    couplings = freeze_what_fails(net, trace(net, images(name)), images(name))
    apply(make_plan(net, couplings, random_structure(couplings, seed=5)), net)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())
    assert [module.training for module in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters() if p is not first].count(False) == 0
    assert not first.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@EVERY_TOPOLOGY
def test_units_of_every_coupling_are_found_the_same_way_twice(name):
    first, second = trace(fresh(name), images(name)), trace(fresh(name), images(name))
    assert [c.name for c in first.free] == [c.name for c in second.free]
    assert first.frozen == second.frozen
    assert {(m.tensor, m.axis, m.kind) for c in first.free for m in c.members} == {
        (m.tensor, m.axis, m.kind) for c in second.free for m in c.members
    }

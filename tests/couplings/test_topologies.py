"""Every topology: traced and tried, then cut at random, it stays the network that it was."""

import copy
import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.count import count, layer_macs
from compressor.couplings.coupling import Couplings, mask_
from compressor.couplings.index_flow import index_flow
from compressor.strip.apply import apply
from compressor.strip.compare import as_type, compare, relative_difference
from compressor.strip.cost import Cost
from compressor.strip.find import find_couplings
from compressor.strip.plan import StripPlan, make_plan
from compressor.strip.trial import shake
from compressor.structure import Structure

from .topologies import TOPOLOGIES
from .topology import DOES_NOT_COME_BACK, alone

EVERY_TOPOLOGY = pytest.mark.parametrize("name", TOPOLOGIES)
OF_ONE_TENSOR = pytest.mark.parametrize(
    "name", [name for name, topology in TOPOLOGIES.items() if topology.arguments is alone]
)
"""What counts MACs takes one tensor."""


pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match")
"""An instance norm without parameters has none to learn its new width from, and only warns."""
DOUBLE = torch.float64


def arguments(name: str, num_images: int = 3, seed: int = 0) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, *TOPOLOGIES[name].shape, generator=generator)
    return TOPOLOGIES[name].arguments(images)


def in_double(name: str, num_images: int = 3, seed: int = 0) -> tuple[Any, ...]:
    return as_type(arguments(name, num_images, seed), DOUBLE)


def fresh(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode()))
        return TOPOLOGIES[name].build()


@cache
def network(name: str) -> nn.Module:
    """With shaken norms: those of a new network are the identity and hide mistakes."""
    return shake(fresh(name), arguments(name), seed=1)


def check_seconds(name: str) -> float:
    """Where torch-pruning does not come back there is no use in waiting long."""
    return 1.0 if TOPOLOGIES[name].why == DOES_NOT_COME_BACK else 20.0


def in_mixed_modes(name: str) -> nn.Module:
    """In training mode but for its first part."""
    net = fresh(name).train()
    next(iter(net.children())).eval()
    return net


@cache
def found(name: str) -> tuple[nn.Module, Couplings]:
    """A network, after its couplings were found."""
    net, seconds = in_mixed_modes(name), check_seconds(name)
    heads = TOPOLOGIES[name].heads
    return net, find_couplings(
        net, arguments(name), engine="both", check_seconds=seconds, heads=heads
    )


def couplings_of(name: str) -> Couplings:
    return found(name)[1]


@cache
def halved(name: str) -> Structure:
    """About half of the units of each coupling."""
    generator = torch.Generator().manual_seed(2)
    keep = {}
    for coupling in couplings_of(name).free:
        keep[coupling.name] = torch.rand(coupling.num_units, generator=generator) < 0.5
        keep[coupling.name][torch.randint(coupling.num_units, (1,), generator=generator)] = True
    return Structure(keep)


@cache
def slim(name: str) -> nn.Module:
    return apply(make_plan(network(name), couplings_of(name), halved(name)), network(name))


@cache
def slim_graph(name: str) -> nn.Module:
    """The same in the form of a graph, whatever form it can have, from a plan that was saved."""
    net = copy.deepcopy(network(name)).double()
    plan = make_plan(net, replace(couplings_of(name), form="graph"), halved(name))
    return apply(StripPlan.from_json(plan.to_json()), net)


def structures(couplings: Couplings) -> st.SearchStrategy[Structure]:
    """Any units of each coupling, at least one; the first one drawn keeps one unit of each."""
    kept = {
        coupling.name: st.sets(st.integers(0, coupling.num_units - 1), min_size=1).map(
            lambda places, size=coupling.num_units: torch.tensor([i in places for i in range(size)])
        )
        for coupling in couplings.free
    }
    return st.fixed_dictionaries(kept).map(Structure)


def tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def reached(net: nn.Module, inputs: tuple[Any, ...]) -> set[str]:
    """Parameters that a step of training would move."""
    net.zero_grad()
    sum(output.square().sum() for output in tensors(net(*inputs))).backward()
    assert all(p.shape == p.grad.shape for p in net.parameters() if p.grad is not None)
    return {name for name, p in net.named_parameters() if p.grad is not None}


@EVERY_TOPOLOGY
def test_couplings_are_free_or_frozen_by_name_and_reason(name):
    couplings, expected = couplings_of(name), TOPOLOGIES[name]
    assert {coupling.name: coupling.num_units for coupling in couplings.free} == expected.free
    reasons = {frozen.name: frozen.reason for frozen in couplings.frozen}
    assert reasons.keys() == expected.frozen.keys()
    assert [key for key, piece in expected.frozen.items() if piece not in reasons[key]] == []
    assert couplings.form == expected.form
    assert couplings.program.unknown == {}


@EVERY_TOPOLOGY
def test_torch_pruning_says_what_is_known_of_it(name):
    agreement, expected = couplings_of(name).agreement, TOPOLOGIES[name]
    found = "no answer" if agreement.note else "refuted" if agreement.refuted else "agrees"
    assert found == expected.second_engine
    assert found != "no answer" or expected.why in agreement.note
    assert ("torch-pruning" in agreement.engines) == (found != "no answer")


@EVERY_TOPOLOGY
def test_stripped_equals_masked_whatever_is_kept(name):
    inputs = [in_double(name, seed=1), in_double(name, seed=2)]
    is_graph = couplings_of(name).form == "graph"

    @settings(max_examples=2 if is_graph else 6, derandomize=True, deadline=None, database=None)
    @given(structure=structures(couplings_of(name)))
    def holds(structure: Structure) -> None:
        difference, _ = compare(network(name), couplings_of(name), structure, inputs, DOUBLE)
        assert difference <= 1e-10

    holds()
    # A single unit may be dead for all images; half of them tell images apart.
    difference, spread = compare(network(name), couplings_of(name), halved(name), inputs, DOUBLE)
    assert difference <= 1e-10
    assert spread > 1e-7


@torch.no_grad()
@EVERY_TOPOLOGY
def test_graph_form_equals_masked_for_batches_of_other_sizes(name):
    masked = copy.deepcopy(network(name)).double()
    mask_(masked, couplings_of(name), halved(name))
    for inputs in (in_double(name), in_double(name, num_images=5, seed=3)):
        expected, found = tensors(masked(*inputs)), tensors(slim_graph(name).eval()(*inputs))
        for one, other in zip(expected, found, strict=True):
            assert relative_difference(one, other) <= 1e-10


@OF_ONE_TENSOR
def test_cost_in_closed_form_equals_the_counts_of_the_slim_network(name):
    net, (images,) = network(name), arguments(name)
    cost = Cost.of(net, couplings_of(name), layer_macs(net, images))
    removed = {key: int((~kept).sum()) for key, kept in halved(name).keep.items()}
    counts = count(slim(name), images)
    assert cost.params(removed) == counts.params
    assert (cost.macs(removed) == counts.macs) == (TOPOLOGIES[name].cost == "exact")
    assert cost.macs(removed) >= counts.macs


@EVERY_TOPOLOGY
def test_training_reaches_what_it_reached_before(name):
    dense = reached(copy.deepcopy(network(name)).train(), arguments(name))
    assert reached(copy.deepcopy(slim(name)).train(), arguments(name)) == dense
    assert slim(name).state_dict().keys() == network(name).state_dict().keys()


@EVERY_TOPOLOGY
def test_graph_form_trains_and_its_norms_move(name):
    dense = reached(copy.deepcopy(network(name)).train(), arguments(name))
    graph = copy.deepcopy(slim_graph(name)).train()
    before = {key: tensor.clone() for key, tensor in graph.named_buffers()}
    assert reached(graph, in_double(name)) == dense
    assert graph.state_dict().keys() == network(name).state_dict().keys()
    moving = {key for key in before if key.endswith("running_var")}
    assert [key for key in moving if torch.equal(graph.get_buffer(key), before[key])] == []


@EVERY_TOPOLOGY
def test_network_is_left_as_it_was(name):
    net, untouched = found(name)[0], in_mixed_modes(name)
    apply(make_plan(net, couplings_of(name), halved(name)), net)
    expected = untouched.state_dict()
    assert net.state_dict().keys() == expected.keys()
    assert all(torch.equal(net.state_dict()[key], value) for key, value in expected.items())
    assert [m.training for m in net.modules()] == [m.training for m in untouched.modules()]
    pairs = zip(net.parameters(), untouched.parameters(), strict=True)
    assert all(p.requires_grad == other.requires_grad for p, other in pairs)
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@EVERY_TOPOLOGY
def test_couplings_are_found_the_same_way_twice(name):
    again = index_flow(fresh(name), arguments(name), TOPOLOGIES[name].heads)
    assert plain(again) == plain(couplings_of(name))


def plain(couplings: Couplings) -> Any:
    """All that couplings say, as plain data."""
    return couplings.frozen, [
        (c.name, [(m.tensor, m.axis, m.index.tolist(), m.kind) for m in c.members])
        for c in couplings.free
    ]

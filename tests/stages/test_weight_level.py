"""Structures of single weights: zeros in the network, units that live, masks of the slim one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.errors import StructureError
from compressor.sparsity.candidates import weight_names
from compressor.sparsity.masks import has_groups, two_of_four
from compressor.stages.weight_level import (
    live_support,
    num_nonzero,
    num_outside,
    slim_masks,
    zero_outside_,
)
from compressor.strip.apply import apply
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.structure import Path, Structure


class Tied(nn.Module):
    """Two layers that share one weight between a stem and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(64, 8)
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.inner, self.head = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x.flatten(1)))
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(torch.relu(self.inner(x)))


@pytest.fixture
def example(toy_task):
    return toy_task.example(2)


@pytest.fixture
def net(toy_net):
    return toy_net("residual")


def drawn(model, share=0.3, granularity="weight"):
    """A structure that keeps so many of all single weights, by chance."""
    draw, tensors = torch.Generator().manual_seed(0), named_tensors(model)
    shapes = {name: tensors[name].shape for name in weight_names(model)}
    if granularity == "2:4":
        scores = {n: torch.rand(s, generator=draw) for n, s in shapes.items() if has_groups(s)}
        return Structure({name: two_of_four(some) for name, some in scores.items()}, "2:4")
    keep = {n: torch.rand(shape, generator=draw) < share for n, shape in shapes.items()}
    return Structure(keep, granularity)


def some_units(couplings, step=2):
    """Every unit but one in ``step``."""
    return Structure({c.name: torch.arange(c.num_units) % step > 0 for c in couplings.free})


def stripped(model, couplings, structure):
    """The plan and the slim network of a masked one."""
    zero_outside_(model, structure)
    plan = make_plan(model, couplings, some_units(couplings))
    return plan, apply(plan, model)


def test_nonzero_parameters_are_counted_and_shared_ones_once():
    model = Tied()
    with torch.no_grad():
        model.stem.weight[:2] = 0
        model.first.weight[0, :3] = 0
    assert num_nonzero(model) == sum(p.numel() for p in model.parameters()) - 2 * 64 - 3


def test_weights_outside_become_zero_and_the_others_stay(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    structure = drawn(net)
    assert num_outside(net, structure) > 0
    zero_outside_(net, structure)
    assert num_outside(net, structure) == 0
    for name, value in net.state_dict().items():
        kept = structure.keep.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value, before[name] * kept)


def test_weights_that_are_no_numbers_become_zero_too(net):
    with torch.no_grad():
        net.classifier.weight.fill_(torch.nan)
    zero_outside_(net, Structure({"classifier.weight": torch.zeros(3, 6) > 0}, "weight"))
    assert not net.classifier.weight.any()


@pytest.mark.parametrize("name", ["classifier.weight", "nothing.weight"])
def test_masks_of_another_network_are_refused_by_name(net, name):
    with pytest.raises(StructureError, match=f"{name}: the mask has shape .2, 2., the network has"):
        zero_outside_(net, Structure({name: torch.ones(2, 2) > 0}, "weight"))


def test_units_live_where_weights_that_make_and_read_them_are_kept(net, toy_couplings):
    couplings = toy_couplings["residual"]
    (coupling,) = [c for c in couplings.free if c.name == "blocks.0.conv1"]
    structure = drawn(net, share=1.1)
    structure.keep["blocks.0.conv1.weight"][0] = False
    structure.keep["blocks.0.conv2.weight"][:, 2] = False
    path = Path.of_scores("m", {c.name: torch.ones(c.num_units) for c in couplings.free})
    support = live_support(couplings, structure, path)
    assert support.keep[coupling.name].tolist() == [False, True, False, True]
    assert support.num_kept == support.num_units - 2


def test_of_a_coupling_without_a_living_unit_the_best_by_the_path_stays(net, toy_couplings):
    couplings = toy_couplings["residual"]
    structure = drawn(net, share=1.1)
    structure.keep["blocks.0.conv1.weight"][:] = False
    scores = {c.name: torch.arange(c.num_units).double() for c in couplings.free}
    scores["blocks.0.conv1"] = torch.tensor([0.1, 0.3, 0.2, 0.3])
    support = live_support(couplings, structure, Path.of_scores("m", scores))
    assert support.keep["blocks.0.conv1"].tolist() == [False, True, False, False]


@pytest.mark.parametrize("form", ["module", "graph"])
def test_slim_masks_are_cut_as_the_weights_are(net, example, form):
    couplings = replace(find_couplings(net, example), form=form)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    structure = drawn(net)
    plan, slim = stripped(net, couplings, structure)
    assert plan.form == form
    masks = slim_masks(plan, net, slim, structure)
    weights = dict(slim.named_parameters())
    assert masks.granularity == "weight"
    assert masks.keep.keys() == structure.keep.keys()
    for name, kept in masks.keep.items():
        # Every kept weight is above zero, so what is not zero after the cut is what the cut kept.
        assert torch.equal(kept, weights[name] != 0)


def test_slim_masks_of_weights_that_layers_share_are_those_of_the_one_weight(example):
    model = Tied()
    couplings = find_couplings(model, example)
    structure = drawn(model)
    plan, slim = stripped(model, couplings, structure)
    masks = slim_masks(plan, model, slim, structure)
    assert set(masks.keep) == {"stem.weight", "first.weight", "inner.weight", "head.weight"}
    assert masks.keep["inner.weight"].shape == slim.inner.weight.shape == (6, len(slim.stem.bias))
    assert num_outside(slim, masks) == 0


def test_masks_go_with_the_branch_that_their_weights_go_with(net, example):
    couplings = find_couplings(net, example, depth="remove")
    branch = couplings.branches[0]
    keep = couplings.everything().keep
    keep |= {name: torch.zeros_like(keep[name]) for name in branch.couplings}
    structure = drawn(net)
    plan = make_plan(net, couplings, Structure(keep))
    slim = apply(plan, net)
    masks = slim_masks(plan, net, slim, structure)
    gone = structure.keep.keys() - masks.keep.keys()
    assert gone == {name for name in structure.keep if name.startswith(f"{branch.name}.")}


def test_where_nothing_is_cut_the_masks_are_those_of_before(net):
    plan = make_plan(net, Couplings(()), Structure({}))
    structure = drawn(net)
    masks = slim_masks(plan, net, net, structure)
    assert all(torch.equal(kept, structure.keep[name]) for name, kept in masks.keep.items())
    assert masks.keep.keys() == structure.keep.keys()


def test_two_of_four_are_taken_anew_where_the_cut_leaves_groups(toy_net, example):
    model = Tied()
    couplings = find_couplings(model, example)
    structure = drawn(model, granularity="2:4")
    plan, slim = stripped(model, couplings, structure)
    masks = slim_masks(plan, model, slim, structure)
    tensors = named_tensors(slim)
    # Six inputs of the head are not whole groups of four.
    assert masks.keep["head.weight"].shape == (3, 6)
    assert masks.keep["head.weight"].all()
    assert masks.granularity == "2:4"
    for name in masks.keep.keys() - {"head.weight"}:
        kept = masks.keep[name]
        groups = kept.unflatten(1, (-1, 4)).sum(2)
        assert (groups == 2).all()
        sizes = tensors[name].detach().abs()
        assert (sizes * kept).unflatten(1, (-1, 4)).sum() == pytest.approx(
            float(sizes.unflatten(1, (-1, 4)).topk(2, dim=2).values.sum())
        )


def test_a_weight_that_had_no_groups_gets_none_by_the_cut(example):
    model = Tied()
    couplings = find_couplings(model, example)
    structure = Structure({"inner.weight": torch.ones(12, 8) > 0}, "2:4")
    plan, slim = stripped(model, couplings, structure)
    kept = slim_masks(plan, model, slim, structure).keep["inner.weight"]
    assert has_groups(kept.shape)
    assert kept.all()

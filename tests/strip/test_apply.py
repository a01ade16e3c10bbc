"""A plan on a network."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import mask_
from compressor.errors import StripError
from compressor.strip.apply import apply
from compressor.strip.norms import KeptGroupNorm, KeptLayerNorm, KeptRMSNorm
from compressor.strip.plan import Attribute, Cut, StripPlan, make_plan


def test_plan_from_json_on_a_fresh_network_reloads_the_slim_one_to_the_bit(
    make_net, net, couplings, make_structure, images
):
    plan = make_plan(net, couplings, make_structure(3))
    slim = apply(plan, net).eval()
    text, state = json.dumps(plan.to_json()), slim.state_dict()
    reloaded = apply(StripPlan.from_json(json.loads(text)), make_net(7)).eval()
    reloaded.load_state_dict(state)
    assert torch.equal(reloaded(images), slim(images))


def test_slim_network_computes_what_the_masked_one_does(net, couplings, make_structure, images):
    structure = make_structure(4)
    slim = apply(make_plan(net, couplings, structure), net)
    mask_(net, couplings, structure)
    assert torch.allclose(slim(images), net(images), rtol=1e-5, atol=1e-6)
    assert slim.stem.out_channels == structure.widths()["stem"] < 16


def test_empty_plan_copies(net, images):
    copied = apply(StripPlan((), ()), net)
    assert torch.equal(copied(images), net(images))
    assert copied.stem.weight is not net.stem.weight


def test_original_shares_no_memory_with_the_slim_network(net, couplings, make_structure):
    structure = make_structure(5)
    slim = apply(make_plan(net, couplings, structure), net)
    before = net.stem.weight.clone()
    with torch.no_grad():
        slim.stem.weight.zero_()
        slim.head.weight.zero_()
    assert torch.equal(net.stem.weight, before)
    assert net.stem.out_channels == 16
    assert net.head.weight.any()


def test_parameters_and_buffers_stay_what_they_were(net, couplings, make_structure):
    net.branch.weight.requires_grad_(False)
    slim = apply(make_plan(net, couplings, make_structure(5)), net)
    assert slim.state_dict().keys() == net.state_dict().keys()
    assert [name for name, p in slim.named_parameters() if not p.requires_grad] == ["branch.weight"]
    assert all(p.is_leaf and p.is_contiguous() for p in slim.parameters())


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (
            Cut("stem.weight", 0, 20, (0,)),
            "stem.weight: the plan is for 20 entries on axis 0, the ",
        ),
        (Cut("stem.weight", 4, 16, (0,)), "on axis 4, the network has no such axis"),
        (Cut("stem.weight", -1, 3, (0,)), "on axis -1, the network has no such axis"),
        (Cut("body.weight", 0, 16, (0,)), "body.weight: the plan cuts a tensor that the network "),
    ],
)
def test_plan_of_another_network_is_refused_in_one_line(net, cut, message):
    with pytest.raises(StripError, match=f"^.*{message}.*Apply the plan to the network") as error:
        apply(StripPlan((cut,), ()), net)
    assert "\n" not in str(error.value)


def test_plan_on_a_network_of_another_width_is_refused(net, couplings, make_structure):
    plan = make_plan(net, couplings, make_structure(6))
    net.wide = nn.Conv2d(16, 41, 3)
    with pytest.raises(StripError, match=r"^wide\.\w+: the plan is for 40 entries on axis 0"):
        apply(plan, net)


def test_layer_of_an_unknown_type_keeps_its_attributes(net, couplings, make_structure):
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_features, norm = 16, nn.BatchNorm2d(16)
            self.weight, self.bias = norm.weight, norm.bias
            self.register_buffer("running_mean", norm.running_mean)
            self.register_buffer("running_var", norm.running_var)

    net.stem_norm = Norm()
    structure = make_structure(6)
    slim = apply(make_plan(net, couplings, structure), net)
    width = (structure.widths()["stem"],)
    assert slim.stem_norm.weight.shape == slim.stem_norm.running_var.shape == width
    assert slim.stem_norm.num_features == 16


def test_plan_for_other_positions_gives_another_network(net, couplings, make_structure, images):
    plan = make_plan(net, couplings, make_structure(3))
    cuts = tuple(
        replace(cut, keep=tuple((k + 1) % cut.size for k in cut.keep)) if cut.axis == 1 else cut
        for cut in plan.cuts
    )
    wrong = apply(replace(plan, cuts=cuts), net)
    assert not torch.allclose(wrong(images), apply(plan, net)(images), rtol=1e-2)


@pytest.mark.parametrize(
    ("norm", "kind", "divisor"),
    [
        (nn.LayerNorm(8), KeptLayerNorm, 8),
        (nn.RMSNorm(8), KeptRMSNorm, 8),
        (nn.GroupNorm(2, 8), KeptGroupNorm, 4),
    ],
)
def test_norm_with_a_divisor_of_its_own_stands_where_the_norm_stood(norm, kind, divisor):
    net = nn.Sequential(nn.Linear(3, 8), norm)
    keep = (0, 1, 4, 5)
    cuts = [Cut(name, 0, 8, keep) for name in dict(net.named_parameters())]
    slim = apply(StripPlan(tuple(cuts), (), divisors={"1": divisor}), net)
    assert type(slim[1]) is kind
    assert slim[1].divisor == divisor
    assert slim[1].weight.shape == (4,)
    assert type(net[1]) is type(norm)
    assert slim.state_dict().keys() == net.state_dict().keys()


class Twice(nn.Module):
    """One layer under two names, and a norm."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.again, self.norm = self.first, nn.LayerNorm(6)
        self.norm_again = self.norm


def test_layer_under_two_names_stays_one_layer():
    names = ["first.weight", "first.bias", "norm.weight", "norm.bias"]
    cuts = tuple(Cut(name, 0, 6, (1, 2)) for name in names)
    slim = apply(StripPlan(cuts, (), divisors={"norm": 6}), Twice())
    assert slim.again is slim.first
    assert slim.norm_again is slim.norm
    assert (slim.first.out_features, slim.norm.divisor) == (2, 6)
    assert slim.first.weight.shape == (2, 4)


def test_tied_weight_is_cut_once_and_stays_tied():
    net = nn.ModuleDict({"embed": nn.Embedding(10, 6), "head": nn.Linear(6, 10, bias=False)})
    net["head"].weight = net["embed"].weight
    slim = apply(StripPlan((Cut("embed.weight", 1, 6, (0, 5)),), ()), net)
    assert slim["head"].weight is slim["embed"].weight
    assert slim["head"].weight.shape == (10, 2)
    assert torch.equal(slim["head"].weight, net["head"].weight[:, [0, 5]])


def test_mended_number_is_set_on_the_copy_alone():
    net = nn.ModuleDict({"block": nn.Linear(4, 6)})
    net["block"].heads = 3
    slim = apply(StripPlan((), (), "mended", attributes=(Attribute("block", "heads", 2),)), net)
    assert (net["block"].heads, slim["block"].heads) == (3, 2)

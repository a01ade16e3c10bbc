"""Plans as data."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from compressor.couplings.branch import Branch
from compressor.errors import StripError, StructureError
from compressor.strip.edits import Edit
from compressor.strip.plan import (
    PLAN_VERSION,
    Attribute,
    Cut,
    StripPlan,
    Width,
    kept_divisors,
    make_plan,
    mended_attributes,
)
from compressor.structure import Structure


def test_plan_survives_json(net, couplings, make_structure):
    plan = make_plan(net, couplings, make_structure(1))
    assert StripPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.cuts


def test_plan_holds_one_cut_for_each_axis_that_loses_units(net, couplings):
    keep = couplings.everything().keep
    keep = {**keep, "stem": torch.arange(16) < 2}
    plan = make_plan(net, couplings, Structure(keep))
    assert plan.widths == (Width("stem", 16, 2), Width("wide", 40, 40))
    assert [(cut.tensor, cut.axis) for cut in plan.cuts] == [
        ("branch.weight", 0),
        ("branch.weight", 1),
        ("stem.bias", 0),
        ("stem.weight", 0),
        ("stem_norm.bias", 0),
        ("stem_norm.running_mean", 0),
        ("stem_norm.running_var", 0),
        ("stem_norm.weight", 0),
        ("wide.weight", 1),
    ]
    assert {cut.keep for cut in plan.cuts} == {(0, 1)}


def test_unit_that_is_flattened_takes_its_whole_block_along(net, couplings):
    keep = {**couplings.everything().keep, "wide": torch.arange(40) == 1}
    plan = make_plan(net, couplings, Structure(keep))
    assert Cut("head.weight", 1, 640, tuple(range(16, 32))) in plan.cuts


def test_everything_kept_is_no_cut(net, couplings):
    assert make_plan(net, couplings, couplings.everything()).cuts == ()


def test_structure_of_another_network_is_refused(net, couplings):
    with pytest.raises(StructureError, match="stem: the structure is for none of its 16 units"):
        make_plan(net, couplings, Structure({}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, f"version None, this release reads {PLAN_VERSION}"),
        ({"version": 99, "cuts": []}, f"version 99, this release reads {PLAN_VERSION}"),
        ({"version": PLAN_VERSION}, r"cannot be read \(KeyError: 'cuts'\)"),
        ({"version": PLAN_VERSION, "cuts": [3], "widths": []}, r"cannot be read \(TypeError"),
        ({"version": PLAN_VERSION, "cuts": [{"tensor": "w"}], "widths": []}, "KeyError: 'axis'"),
    ],
)
def test_plan_that_cannot_be_read_is_refused_in_one_line(value, message):
    with pytest.raises(StripError, match=message) as error:
        StripPlan.from_json(value)
    assert "\n" not in str(error.value)


def test_every_part_of_a_plan_survives_json():
    plan = StripPlan(
        cuts=(Cut("a.weight", 0, 4, (0, 3)),),
        widths=(Width("a", 4, 2),),
        form="graph",
        attributes=(Attribute("block", "width", 2),),
        divisors={"norm": 4},
        edits=(
            Edit("view", "aten.view.default", "size", 1, 2),
            Edit("attend", "aten.scaled_dot_product_attention.default", "scale", None, 0.25),
        ),
        inputs=[2, 3],
        branches=(Branch("b", "add", "aten.add.Tensor", 1, ("c",), (), ("a",), ("w",), ()),),
    )
    value = json.loads(json.dumps(plan.to_json()))
    assert StripPlan.from_json(value) == plan
    assert all(
        getattr(plan, name) != getattr(StripPlan((), ()), name)
        for name in vars(plan)
        if name != "program"
    )


def test_plan_with_plain_norms_keeps_no_divisor():
    divisor = Edit("norm", "aten.layer_norm.default", "divisor", None, 8)
    shape = Edit("norm", "aten.layer_norm.default", "normalized_shape", 0, 4)
    plan = StripPlan((), (), divisors={"norm": 8}, edits=(shape, divisor)).with_plain_norms()
    assert (plan.divisors, plan.edits) == ({}, (shape,))


class Block(nn.Module):
    """A forward that reads widths from numbers of its own."""

    def __init__(self, **numbers):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 6)
        vars(self).update(numbers)


CUTS = (
    Cut("qkv.weight", 0, 24, tuple(range(12))),
    Cut("qkv.bias", 0, 24, tuple(range(12))),
    Cut("out.weight", 1, 8, tuple(range(4))),
)


def test_number_that_was_a_width_is_mended_with_it():
    block = Block(width=8, depth=2, scale=8.0, is_wide=True)
    assert mended_attributes(block, CUTS, ()) == (Attribute("", "width", 4),)


def test_number_of_units_is_mended_as_well():
    found = mended_attributes(Block(heads=4), CUTS, (Width("qkv", 4, 2),))
    assert found == (Attribute("", "heads", 2),)


def test_number_that_was_two_widths_is_left_alone():
    other = Cut("qkv.weight", 1, 8, tuple(range(6)))
    assert mended_attributes(Block(width=8), (*CUTS, other), ()) == ()


def test_number_outside_of_what_is_cut_is_left_alone():
    net = nn.ModuleDict({"cut": Block(width=8), "whole": Block(width=8)})
    cuts = [replace(cut, tensor=f"cut.{cut.tensor}") for cut in CUTS]
    assert mended_attributes(net, cuts, ()) == (Attribute("cut", "width", 4),)


def test_norms_over_what_is_cut_keep_their_divisor():
    net = nn.ModuleDict(
        {
            "layer": nn.LayerNorm(8),
            "uncut": nn.LayerNorm(8),
            "rms": nn.RMSNorm(8),
            "places": nn.GroupNorm(2, 8),
            "groups": nn.GroupNorm(4, 8),
            "batch": nn.BatchNorm2d(8),
        }
    )
    cut = {f"{name}.weight" for name in net if name != "uncut"}
    assert kept_divisors(net, cut) == {"layer": 8, "places": 4, "rms": 8}

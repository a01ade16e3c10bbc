"""Plans as data."""

import json

import pytest
import torch

from compressor.errors import StripError, StructureError
from compressor.strip.plan import PLAN_VERSION, Cut, StripPlan, Width, make_plan
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
        ({}, "version None, this release reads 1"),
        ({"version": 99, "cuts": []}, "version 99, this release reads 1"),
        ({"version": PLAN_VERSION}, r"cannot be read \(KeyError: 'cuts'\)"),
        ({"version": PLAN_VERSION, "cuts": [3], "widths": []}, r"cannot be read \(TypeError"),
        ({"version": PLAN_VERSION, "cuts": [{"tensor": "w"}], "widths": []}, "KeyError: 'axis'"),
    ],
)
def test_plan_that_cannot_be_read_is_refused_in_one_line(value, message):
    with pytest.raises(StripError, match=message) as error:
        StripPlan.from_json(value)
    assert "\n" not in str(error.value)

"""Layers that a recipe keeps: what a glob matches, what is frozen, what is told."""

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.errors import StripError
from compressor.strip.budget import StripSettings
from compressor.strip.hold import hold


@pytest.fixture
def plain(make_net):
    return make_net(0)


def held(couplings, net, **chosen):
    return hold(couplings, net, StripSettings(**chosen))


def names(held):
    return [coupling.name for coupling in held.couplings.free]


def test_kept_layer_keeps_its_outputs_and_may_lose_inputs(couplings, plain):
    result = held(couplings, plain, keep=("wide",))
    assert names(result) == ["stem"]
    assert result.couplings.frozen[-1].reason == "strip.keep 'wide' names wide"


def test_frozen_layer_loses_neither_outputs_nor_inputs(couplings, plain):
    result = held(couplings, plain, freeze=("wide",))
    assert names(result) == []
    reasons = {frozen.name: frozen.reason for frozen in result.couplings.frozen}
    assert [reasons[name] for name in ("stem", "wide")] == ["strip.freeze 'wide' names wide"] * 2


def test_layer_that_only_reads_is_kept_by_freeze_alone(couplings, plain):
    assert names(held(couplings, plain, keep=("head",))) == ["stem", "wide"]
    assert names(held(couplings, plain, freeze=("head",))) == ["stem"]


def test_norm_stands_for_the_layer_before_it(couplings, plain):
    assert names(held(couplings, plain, keep=("wide_norm",))) == ["stem"]


def test_layers_coupled_to_a_kept_one_are_told(couplings, plain):
    result = held(couplings, plain, keep=("branch",))
    assert names(result) == ["wide"]
    assert result.because == {"stem": ("stem",)}
    assert result.lines() == [
        "strip.keep 'branch': branch",
        "stem: kept whole too, coupled to stem",
    ]


def test_every_pattern_is_echoed_with_all_it_matches(couplings, plain):
    result = held(couplings, plain, keep=("stem*", "h[ae]ad"), freeze=("wide",))
    assert result.matched == {
        "strip.keep 'stem*'": ("stem", "stem_norm"),
        "strip.keep 'h[ae]ad'": ("head",),
        "strip.freeze 'wide'": ("wide",),
    }


def test_name_of_a_module_stands_for_all_layers_inside():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Conv2d(4, 5, 1))
    units = torch.arange(4).view(4, 1)
    coupling = Coupling(
        "0.0", 4, (Member("0.0.weight", 0, units, "filter"), Member("1.weight", 1, units, "input"))
    )
    result = held(Couplings((coupling,)), net, keep=("0",))
    assert result.matched == {"strip.keep '0'": ("0.0",)}
    assert names(result) == []
    assert names(held(Couplings((coupling,)), net, keep=("1",))) == ["0.0"]


def test_without_patterns_nothing_changes(couplings, plain):
    result = held(couplings, plain)
    assert result.couplings == couplings
    assert result.lines() == []


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"keep": ("stam",)}, "strip.keep 'stam' names no layer with weights. Did you mean stem"),
        ({"freeze": ("wide", "xyz*")}, "strip.freeze 'xyz*' names no layer with weights. There"),
    ],
)
def test_pattern_that_names_no_layer_is_refused_with_near_names(couplings, plain, chosen, told):
    with pytest.raises(StripError) as error:
        held(couplings, plain, **chosen)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_patterns_are_lists_in_a_recipe():
    assert StripSettings.model_validate({"keep": ["a", "b*"]}).keep == ("a", "b*")

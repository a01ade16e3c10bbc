from typing import get_args

import pytest
from pydantic import TypeAdapter

from compressor.sparsity.base import Horizon
from compressor.sparsity.catalog import METHODS, SparsitySettings, build_sparsifier
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings

HORIZON = Horizon(num_steps=10, path_time=2.0, seed=0)


def test_the_union_of_settings_and_the_list_of_methods_agree():
    union = get_args(get_args(SparsitySettings)[0])
    assert set(union) == {method.settings for method in METHODS.values()}


@pytest.mark.parametrize("name", METHODS)
def test_each_settings_class_defaults_to_its_own_method(name):
    assert METHODS[name].settings().method == name


@pytest.mark.parametrize("name", METHODS)
def test_a_section_with_a_method_builds_that_method(name):
    settings = TypeAdapter(SparsitySettings).validate_python({"method": name})
    assert type(settings) is METHODS[name].settings
    assert type(build_sparsifier(settings, HORIZON)) is METHODS[name].build


def test_the_horizon_reaches_the_method():
    built = build_sparsifier(SplitLBISettings(entry_share=0.25), HORIZON)
    assert isinstance(built, SplitLBI)
    assert built.nu == 0.25 * 2.0


@pytest.mark.parametrize("name", METHODS)
def test_each_method_says_what_it_is_in_one_sentence(name):
    assert METHODS[name].summary.endswith(".")
    assert METHODS[name].paper

"""Budgets in time in the settings, and solved on a table that is given."""

import pytest
import torch
from pydantic import ValidationError

from compressor.errors import BudgetError
from compressor.strip.budget import Budget, StripSettings, floor_structure, removed_units, solve
from compressor.strip.explain import explain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep_macs": 0.5, "keep_latency": 0.4}, "keep_macs = 0.5 and keep_latency = 0.4 are two"),
        ({"keep_params": 0.5, "latency_ms": 3.5}, "keep_params = 0.5 and latency_ms = 3.5 are two"),
        ({"keep_latency": 0.5, "latency_ms": 3.0}, "keep_latency = 0.5 and latency_ms = 3 are two"),
    ],
)
def test_time_beside_another_budget_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        StripSettings(**given)


@pytest.mark.parametrize(
    "wrong", [{"keep_latency": 0.0}, {"keep_latency": 1.1}, {"latency_ms": 0.0}]
)
def test_no_time_and_more_than_the_whole_are_refused(wrong):
    with pytest.raises(ValidationError):
        StripSettings(**wrong)


def test_the_budget_is_told_by_its_key():
    assert StripSettings().budget() == {}
    assert StripSettings(latency_ms=3.0).budget() == {"latency_ms": 3.0}
    in_time = [StripSettings(**{key: 0.5}).in_time for key in ("keep_latency", "latency_ms")]
    assert in_time == [True, True]
    assert not StripSettings(keep_macs=0.5).in_time


def given(couplings, cost, share):
    """MACs in the role of time."""
    return Budget(cost.macs_table([c.name for c in couplings.free]), share, "latency")


def test_a_table_that_is_given_is_solved_as_the_one_of_the_settings(couplings, cost, path):
    everything = couplings.everything()
    timed = StripSettings(keep_latency=0.5, round_to=4)
    by_time = solve(couplings, cost, path, everything, timed, given(couplings, cost, 0.5))
    by_macs = solve(couplings, cost, path, everything, StripSettings(keep_macs=0.5, round_to=4))
    assert by_time.widths() == by_macs.widths()


def test_floors_above_a_given_budget_are_told_in_its_word(couplings, cost, path):
    settings = StripSettings(keep_latency=0.5, floor_share=0.9)
    with pytest.raises(BudgetError, match=r"The budget keeps 0.01 of the latency, but the floors"):
        solve(
            couplings,
            cost,
            path,
            couplings.everything(),
            settings,
            given(couplings, cost, 0.01),
        )


def test_the_floors_are_what_the_smallest_possible_budget_keeps(couplings, cost, path):
    settings = StripSettings(keep_latency=0.5, round_to=4, floor_share=0.2)
    floors = floor_structure(couplings, cost, path, settings)
    budget = given(couplings, cost, 1.0)
    least = budget.reached(couplings, floors)
    assert least == cost.macs(removed_units(floors)) / cost.macs({})
    smallest = given(couplings, cost, least * 1.0001)
    solved = solve(couplings, cost, path, couplings.everything(), settings, smallest)
    assert all(torch.equal(solved.keep[name], floors.keep[name]) for name in floors.keep)


def test_a_budget_in_time_is_explained_by_its_record_alone(couplings, cost, path):
    everything = couplings.everything()
    assert explain(couplings, cost, path, everything, StripSettings(keep_latency=0.5)) is None

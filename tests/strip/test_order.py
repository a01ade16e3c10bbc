"""Orders inside a coupling and profiles over all of them, each against values made by hand."""

import math

import pytest
import torch

from compressor.errors import StructureError
from compressor.strip.order import entry_values, even, relative, worths
from compressor.structure import NEVER, Path, UnitPath

INFINITE = math.inf


def units(score, steps=None, **factors):
    steps = torch.tensor(steps or [NEVER] * len(score))
    times = torch.where(steps == NEVER, torch.inf, steps.double() / 10)
    return UnitPath(
        entry_step=steps,
        entry_time=times,
        score=torch.tensor(score, dtype=torch.float64),
        factors={name: torch.tensor(f, dtype=torch.float64) for name, f in factors.items()},
    )


@pytest.fixture
def path():
    return Path(
        "dessilbi",
        {
            "a": units([1.0, 3.0], [8, 2], dual=[5.0, 1.0]),
            "b": units([40.0, 10.0, 10.0, 20.0], [NEVER, 4, 2, NEVER], dual=[1.0, 2.0, 3.0, 4.0]),
        },
    )


def ranking(values):
    return values.argsort(descending=True, stable=True).tolist()


EQUAL = {"a": 1.0, "b": 1.0}


def test_one_cut_by_score_divides_by_the_mean_of_the_coupling(path):
    found = worths(path, "score", "cut", EQUAL)
    assert found["a"].tolist() == [0.5, 1.5]
    assert found["b"].tolist() == [2.0, 0.5, 0.5, 1.0]


def test_an_order_decides_which_units_have_the_values_of_the_profile(path):
    found = worths(path, "dual", "score", EQUAL)
    assert found["a"].tolist() == [1.5, 0.5]
    assert found["b"].tolist() == [0.5, 0.5, 1.0, 2.0]


def test_by_entry_the_earlier_comes_first_and_what_never_entered_last_by_score(path):
    found = worths(path, "entry", "cut", EQUAL)
    assert ranking(found["a"]) == [1, 0]
    assert ranking(found["b"]) == [2, 1, 0, 3]


def test_units_of_one_step_are_told_apart_by_score_less_than_a_step_is_worth():
    some = units([1.0, 9.0, 5.0], [3, 3, 2])
    values = entry_values(some, last=3)
    assert ranking(values) == [2, 1, 0]


def test_entered_units_are_above_one_and_the_others_not_in_every_coupling(path):
    found = worths(path, "entry", "raw", EQUAL)
    for name, some in path.couplings.items():
        assert (found[name] > 1).equal(some.entry_step != NEVER)
        assert float(found[name].min()) > 0


def test_one_cut_by_entry_shifts_no_coupling_against_another():
    steps = {"whole": [1, 2, 3, 4], "half": [1, 2, NEVER, NEVER]}
    path = Path("dessilbi", {name: units([4.0, 3.0, 2.0, 1.0], s) for name, s in steps.items()})
    found = worths(path, "entry", "cut", dict.fromkeys(steps, 1.0))
    for name, values in found.items():
        times = entry_values(path.couplings[name], path.last_entry)
        assert torch.allclose(values * times.mean(), times)
    assert float(found["half"].min()) > 0


def test_raw_widths_take_the_values_of_the_order_as_they_are(path):
    found = worths(path, "dual", "raw", EQUAL)
    assert [found[name].tolist() for name in "ab"] == [[5.0, 1.0], [1.0, 2.0, 3.0, 4.0]]


def test_uniform_widths_give_every_coupling_the_same_share(path):
    found = worths(path, "score", "uniform", EQUAL)
    for threshold in (0.9, 0.6, 0.3):
        shares = [float((values > threshold).double().mean()) for values in found.values()]
        assert abs(shares[0] - shares[1]) <= 0.5  # one unit of the smaller coupling


def test_half_is_the_geometric_mean_of_score_and_uniform(path):
    found = worths(path, "score", "half", EQUAL)
    assert found["a"].tolist() == pytest.approx([math.sqrt(0.5 * 2 * 0.5), math.sqrt(1.5 * 2)])


def test_entries_compare_couplings_by_their_times_of_entry(path):
    found = worths(path, "score", "entries", EQUAL)
    assert float(found["a"].max()) == float(found["b"].max()) == pytest.approx(1 / 1.2)


def test_by_entries_what_never_entered_is_below_all_that_did_and_goes_by_score(path):
    found = worths(path, "score", "entries", EQUAL)
    profile = sorted(found["b"].tolist(), reverse=True)
    least = 1 / 1.8  # the last of all entered at 0.8
    assert profile[1] >= float(found["a"].min()) == pytest.approx(least)
    assert least > profile[2] > profile[3] > 0


def test_entries_per_mac_divide_by_the_root_of_what_a_unit_costs(path):
    plain = worths(path, "score", "entries", EQUAL)
    dear = worths(path, "score", "entries-per-mac", {"a": 4.0, "b": 1.0})
    assert (dear["a"] / plain["a"]).tolist() == pytest.approx([1 / math.sqrt(1.6)] * 2)
    assert (dear["b"] / plain["b"]).tolist() == pytest.approx([1 / math.sqrt(0.4)] * 4)


def test_units_that_cost_more_are_worth_less_per_mac(path):
    cheap = worths(path, "score", "per-mac", EQUAL)
    dear = worths(path, "score", "per-mac", {"a": 4.0, "b": 1.0})
    assert float(dear["a"][0] / dear["b"][0]) == pytest.approx(
        float(cheap["a"][0] / cheap["b"][0]) / 2
    )


def test_chance_is_the_same_every_time_and_another_in_every_coupling(path):
    found = worths(path, "random", "uniform", EQUAL)
    assert found["b"].equal(worths(path, "random", "uniform", EQUAL)["b"])
    many = Path("x", {name: units([1.0] * 50) for name in "cd"})
    both = worths(many, "random", "uniform", {"c": 1.0, "d": 1.0})
    assert not both["c"].equal(both["d"])


def test_a_coupling_without_scales_goes_by_its_score_where_others_have_them():
    mixed = Path("dessilbi", {"a": units([1.0, 2.0], scale=[2.0, 1.0]), "b": units([2.0, 1.0])})
    found = worths(mixed, "scale", "cut", EQUAL)
    assert ranking(found["a"]) == ranking(found["b"]) == [0, 1]


@pytest.mark.parametrize("order", ["entry", "dual"])
def test_an_order_that_a_path_does_not_hold_is_refused(order):
    bare = Path.of_scores("magnitude", {"a": torch.tensor([1.0, 2.0])})
    with pytest.raises(StructureError, match=f'strip.order is "{order}".*magnitude'):
        worths(bare, order, "cut", {"a": 1.0})


@pytest.mark.parametrize("widths", ["entries", "entries-per-mac"])
def test_widths_by_entries_are_refused_where_nothing_entered(widths):
    bare = Path.of_scores("magnitude", {"a": torch.tensor([1.0, 2.0])})
    with pytest.raises(StructureError, match=f'strip.widths is "{widths}".*magnitude'):
        worths(bare, "score", widths, {"a": 1.0})


def test_relative_values_have_mean_one_and_zeros_stay():
    assert relative(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert relative(torch.zeros(2)).tolist() == [0.0, 0.0]


def test_even_steps_start_at_one_and_end_above_zero():
    assert even(4).tolist() == [1.0, 0.75, 0.5, 0.25]

"""Schedules at their ends, in the middle, and in between."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.sparsity.schedules import cosine, cubic_density, late_share, sigmoid

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(("done", "expected"), [(0.0, 0.3), (0.5, 0.2), (1.0, 0.1)])
def test_the_cosine_goes_from_the_first_value_to_the_last(done, expected):
    assert cosine(done, 0.3, 0.1) == pytest.approx(expected)


@given(SHARES, SHARES)
def test_the_cosine_never_turns_back(a, b):
    early, late = sorted((a, b))
    assert cosine(early, 1.0, 0.0) >= cosine(late, 1.0, 0.0) - 1e-12


@pytest.mark.parametrize(("done", "expected"), [(0.0, 1.0), (0.5, 0.1 + 0.9 / 8), (1.0, 0.1)])
def test_most_of_the_cubic_schedule_comes_early(done, expected):
    assert cubic_density(done, 0.1) == pytest.approx(expected)


@given(SHARES, SHARES, SHARES)
def test_the_cubic_density_falls_and_stays_above_its_end(a, b, density):
    early, late = sorted((a, b))
    assert 1 + 1e-12 >= cubic_density(early, density) >= cubic_density(late, density) >= density


@given(st.floats(-700, 700))
def test_the_sigmoid_is_that_of_the_textbook_and_its_own_mirror(value):
    assert sigmoid(value) == pytest.approx(1 / (1 + math.exp(-value)), rel=1e-12)
    assert sigmoid(value) + sigmoid(-value) == pytest.approx(1)


@pytest.mark.parametrize(("value", "expected"), [(-1e6, 0.0), (1e6, 1.0), (0.0, 0.5)])
def test_the_sigmoid_does_not_overflow(value, expected):
    assert sigmoid(value) == expected


def test_the_share_is_a_half_in_the_middle_of_the_run_and_steeper_with_steepness():
    assert late_share(5, 10, 1.0) == 0.5
    assert late_share(6, 10, 1.0) == pytest.approx(1 / (1 + math.e**-1))
    assert late_share(4, 10, 3.0) < late_share(4, 10, 1.0) < 0.5


def test_a_long_run_changes_nothing_at_first_and_ends_with_everything():
    assert late_share(0, 160, 1.0) < 1e-30
    assert late_share(159, 160, 1.0) == pytest.approx(1, abs=1e-12)

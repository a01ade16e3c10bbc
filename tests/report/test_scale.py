import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.report.scale import scale_of, scale_of_shares


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.83, 0.99, (0.8, 0.85, 0.9, 0.95, 1)),
        (0, 10, (0, 2, 4, 6, 8, 10)),
        (-0.18, 0.1, (-0.2, -0.1, 0, 0.1)),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert scale_of(low, high).ticks == ticks


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_a_scale_holds_what_it_is_made_for(low, length):
    scale = scale_of(low, low + length)

    assert scale.low <= low + 1e-6 * length
    assert scale.high >= low + length - 1e-6 * length
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert 2 <= len(scale.ticks) <= 12


@pytest.mark.parametrize("value", [0.0, 5.0, 1.0])
def test_one_number_alone_still_has_a_scale_around_it(value):
    scale = scale_of(value, value)

    assert scale.low < value < scale.high


@pytest.mark.parametrize(
    ("shares", "ends"),
    [([1.0], (0.9, 1)), ([0.0, 0.0], (0, 1)), ([0.95, 1.0], (0.95, 1)), ([0.5], (0.44, 0.56))],
)
def test_shares_have_a_scale_within_0_and_1(shares, ends):
    scale = scale_of_shares(shares)

    assert (scale.low, scale.high) == ends


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_scale_of_shares_holds_them_and_never_leaves_0_and_1(shares):
    scale = scale_of_shares(shares)

    assert 0 <= scale.low <= min(shares) + 1e-9
    assert max(shares) - 1e-9 <= scale.high <= 1


def test_a_share_is_where_a_number_stands():
    scale = scale_of(0, 10)

    assert [scale.share(value) for value in (0, 2.5, 10)] == [0, 0.25, 1]

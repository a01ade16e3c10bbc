import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.report import formats

PREFIXES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (512, "512"),
        (999, "999"),
        (1000, "1.00 k"),
        (1_234_567, "1.23 M"),
        (999_999, "1.00 M"),
        (556_651_530, "557 M"),
        (2_504_931_885_000_000, "2.50 P"),
    ],
)
def test_counts_carry_a_decimal_prefix(value, text):
    assert formats.count(value) == text


@given(st.integers(min_value=1, max_value=10**20))
def test_a_count_is_within_half_a_percent_of_its_value(value):
    figure, _, prefix = formats.count(value).partition(" ")

    assert float(figure.replace(",", "")) * PREFIXES[prefix] == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0456, "0.0456"), (0.9996, "1.00"), (9.996, "10.0"), (12.34, "12.3"), (99.96, "100")],
)
def test_three_digits_stay_three_digits_where_rounding_carries(value, text):
    assert formats.three_digits(value) == text


def test_sizes_are_decimal():
    assert [formats.size(value) for value in (512, 44_732_114)] == ["512 B", "44.7 MB"]


def test_latencies_stay_in_milliseconds():
    values = [formats.milliseconds(value) for value in (0.4561, 12.34, 1234.5)]

    assert values == ["0.456 ms", "12.3 ms", "1,234 ms"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.42, "1.4 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (8070, "2 h 14 min"),
    ],
)
def test_durations_are_in_the_units_people_say(seconds, text):
    assert formats.duration(seconds) == text


def test_shares_are_percent_with_two_decimals():
    assert formats.percent(0.91254) == "91.25 %"


@pytest.mark.parametrize(
    ("difference", "text"),
    [(-0.0012, "-0.12 points"), (0.0031, "+0.31 points"), (-0.00004, "0.00 points")],
)
def test_a_difference_of_accuracies_has_a_sign_unless_it_rounds_to_nothing(difference, text):
    assert formats.signed_points(difference) == text


@pytest.mark.parametrize(
    ("dense", "slim", "text"),
    [
        (400, 100, "4.00x smaller"),
        (100, 180, "1.80x larger"),
        (7, 7, "the same"),
        (0, 7, formats.NOTHING),
    ],
)
def test_a_comparison_says_which_way_it_goes(dense, slim, text):
    assert formats.comparison(dense, slim, formats.SIZE_WORDS) == text


def test_no_difference_is_a_bare_zero():
    assert [formats.difference(value) for value in (0.0, 3.1e-7)] == ["0", "3.1e-07"]


def test_nested_values_become_rows_with_dotted_keys():
    values = {"a": {"b": 1, "c": {"d": None}}, "e": ["x", 2], "f": [], "g": True}

    rows = formats.flat(values)

    assert rows == [
        ("a.b", "1"),
        ("a.c.d", "null"),
        ("e", "x, 2"),
        ("f", formats.NOTHING),
        ("g", "true"),
    ]

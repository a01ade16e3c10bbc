import itertools
from math import comb

import pytest

from compressor.report.paired import paired_change, wilson


def test_wilson_agrees_with_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_paired_interval_agrees_with_a_published_example():
    # Fagerland, Lydersen, Laake 2014: 1, 1, 7, 12 of 21; Newcombe's interval 0.026 to 0.507.
    change = paired_change(both=1, only_first=1, only_second=7, neither=12)

    assert change.value == pytest.approx(6 / 21)
    assert (change.low, change.high) == pytest.approx((0.026, 0.507), abs=5e-4)


def test_the_other_way_round_is_the_mirror_image():
    one, other = paired_change(50, 9, 3, 8), paired_change(50, 3, 9, 8)

    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


@pytest.mark.parametrize("cells", [(36, 0, 0, 0), (0, 0, 0, 5), (20, 0, 0, 16)])
def test_where_nothing_changed_there_is_still_doubt(cells):
    change = paired_change(*cells)

    assert change.value == 0
    assert change.low < 0 < change.high
    assert change.low == pytest.approx(-change.high)


def test_more_images_leave_less_doubt():
    few, many = paired_change(80, 10, 2, 8), paired_change(8000, 1000, 200, 800)

    assert few.low < many.low < many.value < many.high < few.high
    assert many.high < 0


def cells_of(num_images):
    for cuts in itertools.combinations_with_replacement(range(num_images + 1), 3):
        edges = (0, *cuts, num_images)
        yield tuple(after - before for before, after in itertools.pairwise(edges))


def test_it_holds_the_truth_about_as_often_as_it_says():
    shares = (0.8, 0.1, 0.04, 0.06)
    truth, held, num_images = shares[2] - shares[1], 0.0, 22
    for cells in cells_of(num_images):
        change, left, chance = paired_change(*cells), num_images, 1.0
        for share, cell in zip(shares, cells, strict=True):
            chance *= comb(left, cell) * share**cell
            left -= cell
        held += chance * (change.low <= truth <= change.high)

    assert 0.93 < held < 0.995

"""Time by widths: read off grids, summed, consistent in all its forms; and aims corrected."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.strip.cost import Cost
from compressor.strip.fill import Ladder, fill
from compressor.strip.latency import (
    MAX_CORRECTIONS,
    Grid,
    Grids,
    LatencyTable,
    approach,
    latency_table,
    nearest,
)
from compressor.strip.layer_shapes import LayerShape
from compressor.strip.table import Piece, Table
from compressor.structure import Structure

SQUARE = Grid((16, 32), (16, 64), np.array([[1.0, 3.0], [2.0, 7.0]]), block=16)


def read(grid, out, into):
    return float(Grids([grid]).at(np.array([[float(out), float(into)]]), np.array([0]))[0])


@pytest.mark.parametrize(
    ("out", "into", "ms"),
    [(16, 16, 1), (32, 64, 7), (16, 64, 3), (32, 16, 2), (16, 32, 1 + 2 / 3), (32, 48, 2 + 10 / 3)],
)
def test_measured_points_are_met_and_between_them_time_grows_evenly(out, into, ms):
    assert read(SQUARE, out, into) == pytest.approx(ms)


@pytest.mark.parametrize(("width", "block_end"), [(1, 16), (15, 16), (17, 32), (31, 32)])
def test_a_width_costs_what_the_next_whole_block_costs(width, block_end):
    assert read(SQUARE, width, 16) == read(SQUARE, block_end, 16)
    assert read(SQUARE, 16, 16 + width) == read(SQUARE, 16, 16 + block_end)


def test_a_layer_without_channels_takes_no_time():
    assert read(SQUARE, 0, 64) == read(SQUARE, 32, 0) == 0


def test_a_dense_width_that_is_no_whole_block_is_where_it_ends():
    grid = Grid((16, 24), (3,), np.array([[1.0], [4.0]]), block=16)
    assert read(grid, 24, 3) == read(grid, 17, 3) == 4
    assert read(grid, 24, 3) > read(grid, 16, 3)


def test_noise_that_makes_wider_quicker_is_spread_evenly():
    ms = np.array([[1.0, 3.0, 2.0]])
    grid = Grid((8,), (8, 16, 24), ms).rising()
    assert grid.ms.tolist() == [[1.0, 2.5, 2.5]]


def test_rising_times_are_left_alone():
    assert np.array_equal(SQUARE.rising().ms, SQUARE.ms)


@st.composite
def tables(draw):
    """A chain of layers with measured times, one of them flattened, and a rest."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    units = [int(n) for n in generator.integers(1, 9, size=draw(st.integers(1, 4))) * 4]
    pieces, grids = [], []
    for number, width in enumerate(units):
        before = units[number - 1] if number else 3
        cuts = [[(number, 1)], [(number - 1, 1)] if number else []]
        pieces.append(Piece(1.0, [width, before], cuts))
        outs, intos = tuple(sorted({4, width})), tuple(sorted({min(4, before), before}))
        ms = generator.random((len(outs), len(intos)))
        grids.append(Grid(outs, intos, ms, draw(st.sampled_from([1, 4]))).rising())
    rest = Table(len(units), 0.1, [Piece(0.01, [units[0]], [[(0, 1)]])])
    return LatencyTable(len(units), pieces, grids, rest), np.array(units), generator


PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


@PROPERTY
@given(tables())
def test_rises_and_costs_of_several_are_what_single_costs_say(problem):
    table, units, generator = problem
    removed = np.array([generator.integers(0, n + 1) for n in units])
    added = np.array([generator.integers(0, r + 1) for r in removed])
    rises = table.rises(removed, added)
    choices = [removed]
    for coupling, more in enumerate(added):
        wider = removed.copy()
        wider[coupling] -= more
        choices.append(wider)
        assert rises[coupling] == pytest.approx(table.cost(wider) - table.cost(removed))
    assert table.costs(np.array(choices)) == pytest.approx([table.cost(c) for c in choices])


@PROPERTY
@given(tables(), st.floats(0, 1))
def test_a_budget_in_time_is_filled_and_not_passed(problem, share):
    table, units, generator = problem
    ladder = Ladder.of([generator.random(n) for n in units], [4] * len(units), 4)
    least, whole = table.cost(units - 4), table.cost(units * 0)
    allowed = least + share * (whole - least)
    widths = fill(table, ladder, allowed)
    assert table.cost(units - widths) <= allowed + 1e-12
    assert (widths % 4 == 0).all()
    assert (widths >= 4).all()


def small(dense_ms, other=0):
    """One layer of 32 channels in two uses, one coupling, and a weight that is not measured."""
    shape = LayerShape(32, 3, (4, 4), (1, 1), (1, 1), (0, 0), (1, 1))
    shapes = {"w": (32, 3), **({"other": (32, other)} if other else {})}
    cut = {name: {0: (("c", 1),)} for name in shapes}
    cost = Cost(shapes, dict.fromkeys(shapes, 32.0), 0.0, cut)
    grid = Grid((16, 32), (3,), np.array([[1.0], [2.0]]), block=16)
    table = latency_table(cost, ["c"], {"w": (shape, shape)}, {shape: grid}, dense_ms)
    return lambda removed: table.cost(np.array([removed]))


def test_the_whole_network_takes_its_measured_time_and_the_rest_goes_with_the_channels():
    time = small(dense_ms=6.0)
    assert time(0) == pytest.approx(6)
    # Two uses of 1 ms each, and half of the 2 ms that the layers do not explain.
    assert time(16) == pytest.approx(2 * 1 + 1)


def test_layers_that_alone_take_longer_than_the_network_are_scaled_down():
    time = small(dense_ms=3.0)
    assert time(0) == pytest.approx(3)
    assert time(16) == pytest.approx(1.5)


def test_weights_that_are_not_measured_take_what_their_macs_would():
    time = small(dense_ms=6.0, other=3)
    # As many MACs as both uses of the measured weight together take 4 ms, and only 2 ms are left.
    assert time(0) == pytest.approx(6)
    assert time(16) == pytest.approx(3)


def test_without_any_measured_layer_time_goes_with_the_macs():
    cost = Cost({"w": (8, 4)}, {"w": 1.0}, 0.0, {"w": {0: (("c", 1),)}})
    table = latency_table(cost, ["c"], {}, {}, 5.0)
    assert table.cost(np.array([0])) == pytest.approx(5)
    assert table.cost(np.array([4])) == pytest.approx(2.5)


def structure(kept, units=1000):
    return Structure({"c": torch.arange(units) < kept})


def share_of(found):
    return found.num_kept / found.num_units


def walk(asked, truth, solve=lambda share: structure(round(1000 * share))):
    return approach(asked, solve, share_of, lambda found: truth(share_of(found)))


def test_a_prediction_that_holds_is_measured_once():
    assert [trial.aimed for trial in walk(0.5, lambda share: share)] == [0.5]


@pytest.mark.parametrize("factor", [0.7, 1.2, 1.6])
def test_an_aim_that_missed_by_a_factor_is_corrected_in_one_step(factor):
    trials = walk(0.5, lambda share: factor * share)
    assert len(trials) == 2
    assert nearest(trials, 0.5).got == pytest.approx(0.5, rel=0.01)
    assert nearest(trials, 0.5) is trials[1]


def test_a_time_that_never_comes_near_is_given_up_after_some_corrections():
    steps = iter([0.8, 0.2, 0.8, 0.2, 0.8, 0.2, 0.8])
    trials = walk(0.5, lambda _share: next(steps))
    assert len(trials) <= 1 + MAX_CORRECTIONS


def test_a_network_is_not_measured_twice():
    trials = walk(0.1, lambda share: share, solve=lambda _share: structure(400))
    assert len(trials) == 1
    assert trials[0].error(0.1) == pytest.approx(3)


def test_no_aim_is_above_the_whole():
    aims = [trial.aimed for trial in walk(0.9, lambda share: 0.5 * share)]
    assert aims == [0.9, 1.0]

"""Filling a budget: properties over random networks, the order of the path, and time."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.strip.fill import TOLERANCE, Ladder, fill
from compressor.strip.table import Piece, Table


def chain(units, factors):
    """Layers one behind the other, some of them on a residual path, as a table of costs."""
    pieces = [Piece(27.0 * factors[0], [units[0]], [[(0, 1)]])]
    for number in range(1, len(units)):
        cuts = [[(number, 1)], [(number - 1, 1)]]
        pieces.append(Piece(9.0 * factors[number], [units[number], units[number - 1]], cuts))
        if number % 2:
            residual = [[(number, 1)], [(number, 1)]]
            pieces.append(Piece(3.0 * factors[number], [units[number]] * 2, residual))
    last = len(units) - 1
    # Flattened, and beside the channels of another coupling: blocks, and two owners of one axis.
    pieces.append(Piece(10.0, [4 * units[last] + units[0]], [[(last, 4), (0, 1)]]))
    return Table(len(units), 100.0, pieces)


@st.composite
def problems(draw):
    """A table, a ladder and a budget that the floors keep."""
    multiple = draw(st.sampled_from([1, 2, 8]))
    units = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    factors = draw(st.lists(st.integers(1, 300), min_size=len(units), max_size=len(units)))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    floors = [min(size, multiple * -(-max(1, size // 10) // multiple)) for size in units]
    ladder = Ladder.of([generator.random(size) for size in units], floors, multiple)
    table = chain(units, factors)
    least, whole = table.cost(ladder.units - ladder.floors), table.cost(ladder.units * 0)
    return table, ladder, least + draw(st.floats(0, 1)) * (whole - least)


def reached(table, ladder, widths):
    return table.cost(ladder.units - widths)


def greedy(table, ladder, allowed):
    """Widths when steps are granted one by one in the order of their means, the plain way."""
    steps = [
        (-mean, coupling, step)
        for coupling, means in enumerate(ladder.means)
        for step, mean in enumerate(means)
    ]
    levels, closed = ladder.units * 0, set()
    for _, coupling, step in sorted(steps):
        wider = levels.copy()
        wider[coupling] = step + 1
        if coupling not in closed and table.cost(ladder.removed(wider)) <= allowed:
            levels = wider
        else:
            closed.add(coupling)
    return ladder.widths(levels)


PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)


@PROPERTY
@given(problems())
def test_widths_keep_budget_floors_and_multiples(problem):
    table, ladder, allowed = problem
    widths = fill(table, ladder, allowed)
    assert reached(table, ladder, widths) <= allowed
    assert (widths >= ladder.floors).all()
    assert (widths <= ladder.units).all()
    above = widths[widths < ladder.units] - ladder.floors[widths < ladder.units]
    assert (above % ladder.steps[widths < ladder.units] == 0).all()


@PROPERTY
@given(problems())
def test_order_of_the_scores_is_kept_where_it_fills_the_budget_and_bettered_elsewhere(problem):
    table, ladder, allowed = problem
    widths, plain = fill(table, ladder, allowed), greedy(table, ladder, allowed)
    if reached(table, ladder, plain) >= (1 - TOLERANCE) * allowed:
        assert widths.tolist() == plain.tolist()
    else:
        assert reached(table, ladder, widths) >= reached(table, ladder, plain)


@PROPERTY
@given(problems())
def test_no_further_step_fits(problem):
    table, ladder, allowed = problem
    widths = fill(table, ladder, allowed)
    for coupling in np.flatnonzero(widths < ladder.units):
        wider = widths.copy()
        wider[coupling] = min(widths[coupling] + ladder.steps[coupling], ladder.units[coupling])
        assert reached(table, ladder, wider) > allowed


@PROPERTY
@given(problems())
def test_same_problem_gives_the_same_widths(problem):
    assert fill(*problem).tolist() == fill(*problem).tolist()


def test_budget_of_a_small_network_is_reached_if_it_can_be():
    """Against every choice of widths."""
    generator, possible, missed = np.random.default_rng(0), 0, 0
    for _ in range(150):
        units = (8 * generator.integers(2, 8, size=3)).tolist()
        ladder = Ladder.of([generator.random(size) for size in units], [8] * 3, 8)
        table = chain(units, generator.integers(1, 200, size=3).tolist())
        allowed = generator.uniform(0.3, 0.9) * table.cost(ladder.units * 0)
        levels = itertools.product(*(range(len(means) + 1) for means in ladder.means))
        costs = np.array([table.cost(ladder.removed(np.array(level))) for level in levels])
        if costs.min() <= allowed and (costs[costs <= allowed] >= (1 - TOLERANCE) * allowed).any():
            possible += 1
            widths = fill(table, ladder, allowed)
            missed += reached(table, ladder, widths) < (1 - TOLERANCE) * allowed
    assert possible > 50
    assert missed == 0


def test_exchange_gives_up_the_units_with_the_lowest_scores():
    """Budget 10 of costs 4, 4, 4, 1: two of the first three, and what is left for the last."""
    pieces = [Piece(cost, [2], [[(number, 1)]]) for number, cost in enumerate([4.0, 4.0, 4.0, 6.0])]
    scores = [np.array([9.0, score]) for score in (3.0, 2.0, 1.0, 0.5)]
    table, ladder = Table(4, 0.0, pieces), Ladder.of(scores, [1] * 4, 1)
    # Floors cost 18; in order the first two steps fit (26), and 28 is allowed.
    widths = fill(table, ladder, 28.0)
    assert widths.tolist() == [2, 1, 1, 2]
    assert reached(table, ladder, widths) == 28.0


@pytest.mark.parametrize("multiple", [1, 8, 100])
def test_two_hundred_wide_couplings_take_less_than_two_seconds(multiple):
    generator, units = np.random.default_rng(0), [2000] * 200
    table = chain(units, generator.integers(1, 200, size=200).tolist())
    scores = [generator.random(2000) for _ in units]
    ladder = Ladder.of(scores, [200] * 200, multiple)
    allowed = 0.3 * table.cost(ladder.units * 0)
    started = time.process_time()
    widths = fill(table, ladder, allowed)
    assert time.process_time() - started < 2
    assert 0.999 * allowed <= reached(table, ladder, widths) <= allowed


def test_rises_are_the_differences_of_costs():
    table, removed, added = chain([8, 6, 5], [3, 2, 7]), np.array([3, 2, 4]), np.array([1, 2, 3])
    rises = table.rises(removed, added)
    for coupling in range(3):
        wider = removed.copy()
        wider[coupling] -= added[coupling]
        assert rises[coupling] == table.cost(wider) - table.cost(removed)


def test_costs_of_several_choices_are_their_costs():
    table, generator = chain([8, 6, 5], [3, 2, 7]), np.random.default_rng(0)
    choices = generator.integers(0, 5, size=(1000, 3))
    assert table.costs(choices).tolist() == [table.cost(choice) for choice in choices]


def test_table_of_nothing_costs_what_is_fixed():
    table = Table(1, 5.0, [])
    assert table.cost(np.array([3])) == 5.0
    assert table.rises(np.array([3]), np.array([1])).tolist() == [0.0]

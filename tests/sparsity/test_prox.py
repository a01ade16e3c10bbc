import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.sparsity.prox import group_soft_threshold, shrink_factors, soft_threshold

# Six digits, since the square of a number below 1e-162 is zero.
numbers = st.floats(-10, 10).map(lambda number: round(number, 6))
thresholds = st.floats(0, 12)


@st.composite
def matrices(draw, max_rows=4, max_columns=4):
    rows, columns = draw(st.integers(1, max_rows)), draw(st.integers(1, max_columns))
    entries = st.lists(numbers, min_size=columns, max_size=columns)
    return torch.tensor(draw(st.lists(entries, min_size=rows, max_size=rows)), dtype=torch.float64)


def objective(z, v, threshold):
    return 0.5 * (z - v).square().sum(dim=1) + threshold * z.norm(dim=1)


@given(v=matrices(), threshold=thresholds)
def test_no_nearby_point_has_a_smaller_objective(v, threshold):
    answer = group_soft_threshold(v, threshold)
    steps = torch.randn(500, *v.shape, generator=torch.Generator().manual_seed(0)).double()
    for size in (1e-3, 0.1, 1.0, 10.0):
        others = (answer + size * steps).flatten(0, 1)
        values = objective(others, v.repeat(500, 1), threshold).view(500, -1)
        assert (values >= objective(answer, v, threshold) - 1e-9).all()


def test_a_grid_search_finds_the_same_minimum():
    v = torch.tensor([[1.2, -0.7]], dtype=torch.float64)
    axis = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    best = grid[objective(grid, v, 0.5).argmin()]
    assert torch.allclose(best, group_soft_threshold(v, 0.5)[0], atol=0.01)


@given(v=matrices(), threshold=thresholds)
def test_with_the_projection_on_the_ball_it_adds_up_to_the_identity(v, threshold):
    norms = v.norm(dim=1, keepdim=True)
    projection = torch.where(norms > threshold, v * threshold / norms.clamp_min(1e-300), v)
    assert torch.allclose(group_soft_threshold(v, threshold) + projection, v, atol=1e-12)


@given(v=matrices(), threshold=thresholds, data=st.data())
def test_distances_never_grow(v, threshold, data):
    other = v + torch.tensor(data.draw(numbers)) * torch.ones_like(v).cumsum(1)
    moved = group_soft_threshold(v, threshold) - group_soft_threshold(other, threshold)
    assert (moved.norm(dim=1) <= (v - other).norm(dim=1) + 1e-12).all()


@given(v=matrices(), threshold=thresholds)
def test_rotating_within_the_groups_commutes_with_it(v, threshold):
    noise = torch.randn(v.shape[1], v.shape[1], generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(noise.double()).Q
    rotated = group_soft_threshold(v @ rotation, threshold)
    assert torch.allclose(rotated, group_soft_threshold(v, threshold) @ rotation, atol=1e-9)


@given(v=matrices(max_columns=1), threshold=thresholds)
def test_with_one_entry_per_row_it_is_the_soft_threshold(v, threshold):
    soft = v.sign() * (v.abs() - threshold).clamp_min(0)
    assert torch.allclose(group_soft_threshold(v, threshold), soft, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_row_of_zeros_stays_zero(threshold):
    assert torch.equal(group_soft_threshold(torch.zeros(2, 3), threshold), torch.zeros(2, 3))


def test_a_row_of_norm_equal_to_the_threshold_becomes_exactly_zero():
    rows = torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]])
    expected = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert torch.equal(group_soft_threshold(rows, 5.0), expected)


@given(v=matrices())
def test_threshold_zero_changes_nothing(v):
    assert torch.equal(group_soft_threshold(v, 0.0), v)


def test_a_nan_is_not_hidden():
    assert group_soft_threshold(torch.tensor([[torch.nan, 1.0]]), 5.0).isnan().all()


def test_the_argument_is_not_changed():
    v = torch.tensor([[3.0, 4.0], [0.1, 0.1]])
    before = v.clone()
    group_soft_threshold(v, 1.0)
    assert torch.equal(v, before)


@given(v=matrices(), threshold=thresholds)
def test_entry_by_entry_it_is_the_group_map_with_groups_of_one(v, threshold):
    single = group_soft_threshold(v.reshape(-1, 1), threshold).view(v.shape)
    assert torch.allclose(soft_threshold(v, threshold), single, atol=1e-12)


@given(v=matrices(), threshold=thresholds)
def test_root_weights_are_unit_weights_with_a_larger_lambda(v, threshold):
    root = threshold * v.shape[1] ** 0.5
    norms = v.norm(dim=1, keepdim=True)
    of_mean_square = v * shrink_factors(norms / v.shape[1] ** 0.5, threshold)
    assert torch.allclose(group_soft_threshold(v, root), of_mean_square, atol=1e-9)


def test_each_group_may_have_its_own_threshold():
    norms = torch.tensor([4.0, 4.0, 4.0, 0.0])
    factors = shrink_factors(norms, torch.tensor([1.0, 4.0, 9.0, 0.0]))
    assert factors.tolist() == [0.75, 0.0, 0.0, 0.0]


def test_a_nan_entry_is_not_hidden_by_the_soft_threshold():
    assert soft_threshold(torch.tensor([torch.nan, 1.0]), 5.0).isnan().tolist() == [True, False]

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.errors import TrainError
from compressor.sparsity.densities import erdos_renyi, whole_counts

SHAPES = st.lists(
    st.lists(st.integers(1, 20), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8
)
DENSITIES = st.floats(0.01, 1.0)


@given(SHAPES, DENSITIES)
def test_erdos_renyi_densities_sum_to_the_target_and_none_is_above_one(shapes, density):
    sizes = [math.prod(shape) for shape in shapes]
    densities = erdos_renyi(shapes, density)
    assert all(0 < d <= 1 for d in densities)
    kept = sum(size * d for size, d in zip(sizes, densities, strict=True))
    assert kept == pytest.approx(density * sum(sizes), rel=1e-3)


@given(SHAPES, DENSITIES)
def test_layers_that_are_not_dense_are_proportional_to_their_factors(shapes, density):
    densities = erdos_renyi(shapes, density)
    scales = [d * math.prod(s) / sum(s) for d, s in zip(densities, shapes, strict=True)]
    sparse = [scale for scale, d in zip(scales, densities, strict=True) if d < 1]
    dense = [scale for scale, d in zip(scales, densities, strict=True) if d == 1]
    assert sparse == pytest.approx([sparse[0]] * len(sparse)) if sparse else True
    # Who is dense would have had more than all of it.
    assert all(scale <= max(sparse) * (1 + 1e-9) for scale in dense if sparse)


def test_erdos_renyi_makes_the_small_layer_dense_and_solves_the_rest_again():
    # Factors 4/4, 20/100 and 40/400: at one scale for all the first would have 1.5 of its weights.
    densities = erdos_renyi([(2, 2), (10, 10), (20, 20)], 0.2)
    scale = (0.2 * 504 - 4) / (20 + 40)
    assert densities == pytest.approx([1.0, 0.2 * scale, 0.1 * scale])


def test_erdos_renyi_goes_by_all_dimensions():
    (thin, thick) = erdos_renyi([(8, 8, 1, 1), (8, 8, 3, 3)], 0.1)
    assert thick / thin == pytest.approx(((8 + 8 + 3 + 3) / (64 * 9)) / ((8 + 8 + 1 + 1) / 64))


@given(SHAPES, DENSITIES)
def test_counts_are_whole_and_sum_to_the_target(shapes, density):
    sizes = [math.prod(shape) for shape in shapes]
    densities = erdos_renyi(shapes, density)
    total = round(sum(size * d for size, d in zip(sizes, densities, strict=True)))
    if total < len(sizes):
        with pytest.raises(TrainError, match=f"{len(sizes)} layers need one each"):
            whole_counts(sizes, densities)
        return
    counts = whole_counts(sizes, densities)
    assert sum(counts) == total
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


def test_a_floor_of_one_is_paid_by_whoever_is_furthest_above_its_share():
    assert whole_counts([4, 4, 100], [0.05, 0.05, 0.06]) == [1, 1, 4]


def test_an_impossible_density_is_refused_with_the_one_that_is_possible():
    with pytest.raises(TrainError, match=r"density 0\.001 keeps 1 of 1200 .* 0\.0025 or more"):
        whole_counts([400, 400, 400], [0.001] * 3)

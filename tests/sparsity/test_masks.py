"""Masks from scores: exact counts, ties by position, floors, and two of every four."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.sparsity.masks import (
    has_groups,
    keep_best,
    keep_largest,
    keep_largest_of_all,
    two_of_four,
)

FEW_VALUES = st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0, 2.0]), min_size=1, max_size=12)


@given(FEW_VALUES, st.data())
def test_as_many_are_kept_as_asked_and_none_is_below_one_left_out(values, data):
    num_kept = data.draw(st.integers(0, len(values)))
    scores = torch.tensor(values)
    mask = keep_largest(scores, num_kept)
    assert int(mask.sum()) == num_kept
    if 0 < num_kept < len(values):
        assert scores[mask].min() >= scores[~mask].max()


def test_of_equal_scores_the_first_stay():
    assert keep_largest(torch.tensor([1.0, 2.0, 1.0, 1.0]), 2).tolist() == [
        True,
        True,
        False,
        False,
    ]


@given(FEW_VALUES, st.data())
def test_of_equal_scores_the_larger_stay(values, data):
    sizes = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=12, max_size=12))
    num_kept = data.draw(st.integers(0, len(values)))
    places = sorted(range(len(values)), key=lambda i: (-values[i], -sizes[i], i))
    mask = keep_largest(torch.tensor(values), num_kept, torch.tensor(sizes[: len(values)]))
    assert set(mask.nonzero().flatten().tolist()) == set(places[:num_kept])


def test_sizes_order_equal_scores_of_all_tensors():
    scores = [torch.zeros(3), torch.zeros(2)]
    sizes = [torch.tensor([1.0, 3.0, 0.0]), torch.tensor([2.0, 0.5])]
    masks = keep_largest_of_all(scores, 2, [0, 0], sizes)
    assert [mask.tolist() for mask in masks] == [[False, True, False], [True, False]]
    masks = keep_largest_of_all(scores, 2, [0, 2], sizes)
    assert [mask.tolist() for mask in masks] == [[False, False, False], [True, True]]


def test_sizes_order_equal_scores_of_four():
    scores = torch.tensor([[0.0, 1.0, 0.0, 0.0, 5.0, 4.0, 3.0, 2.0]])
    sizes = torch.tensor([[1.0, 0.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]])
    expected = [[False, True, False, True, True, True, False, False]]
    assert two_of_four(scores, sizes).tolist() == expected


def test_masks_have_the_shape_of_the_scores():
    scores = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(keep_largest(scores, 12), scores >= 12)


def test_scores_of_another_memory_layout_give_the_same_mask():
    scores = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    last = scores.contiguous(memory_format=torch.channels_last)
    assert torch.equal(keep_largest(scores, 20), keep_largest(last, 20))
    assert torch.equal(two_of_four(scores.movedim(0, 1)), two_of_four(last.movedim(0, 1)))


@given(st.lists(FEW_VALUES, min_size=1, max_size=4), st.data())
def test_floors_are_held_and_the_rest_goes_by_score(layers, data):
    scores = [torch.tensor(values) for values in layers]
    floors = [data.draw(st.integers(0, len(values))) for values in layers]
    num_kept = data.draw(st.integers(0, sum(map(len, layers))))
    masks = keep_largest_of_all(scores, num_kept, floors)
    kept = [int(mask.sum()) for mask in masks]
    assert sum(kept) == max(num_kept, sum(floors))
    assert all(count >= floor for count, floor in zip(kept, floors, strict=True))
    # A layer above its floor keeps nothing that is worse than what another leaves out.
    left = [
        float(some[~mask].max()) for some, mask in zip(scores, masks, strict=True) if not mask.all()
    ]
    for some, mask, floor in zip(scores, masks, floors, strict=True):
        if int(mask.sum()) > floor and left:
            by_score = some[mask].sort(descending=True).values
            assert by_score[floor:].min() >= max(left)


def test_without_floors_all_tensors_are_ranked_as_one():
    draw = torch.Generator().manual_seed(0)
    scores = [torch.randn(shape, generator=draw) for shape in ((3, 4), (5,), (2, 2, 2))]
    masks = keep_largest_of_all(scores, 9, [0, 0, 0])
    expected = keep_largest(torch.cat([some.flatten() for some in scores]), 9)
    assert torch.equal(torch.cat([mask.flatten() for mask in masks]), expected)
    assert [mask.shape for mask in masks] == [some.shape for some in scores]


def test_no_tensors_give_no_masks():
    assert keep_largest_of_all([], 0, []) == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8,), False), ((4, 8), True), ((8, 6, 3, 3), False), ((8, 1, 3), False)],
)
def test_groups_lie_along_the_inputs(shape, expected):
    assert has_groups(shape) is expected


@given(st.integers(0, 1000), st.sampled_from([(3, 8), (2, 4, 3), (2, 8, 3, 3), (1, 4, 2, 2, 2)]))
def test_the_two_best_of_every_four_inputs_stay(seed, shape):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    mask = two_of_four(scores)
    assert mask.shape == scores.shape
    for place in range(0, shape[1], 4):
        some, kept = scores[:, place : place + 4], mask[:, place : place + 4]
        assert (kept.sum(1) == 2).all()
        best = some.masked_fill(~kept, torch.inf).amin(1)
        assert (best >= some.masked_fill(kept, -torch.inf).amax(1)).all()


def test_of_four_equal_scores_the_first_two_stay():
    assert two_of_four(torch.zeros(1, 4)).tolist() == [[True, True, False, False]]


def test_a_global_ranking_keeps_the_largest_of_all_and_the_floor_of_each():
    scores = [torch.tensor([9.0, 8.0, 7.0, 6.0]), torch.tensor([1.0, 2.0])]
    first, second = keep_best(scores, 0.5, [1, 1], "global")
    assert first.tolist() == [True, True, False, False]
    assert second.tolist() == [False, True]


def test_a_ranking_by_layer_keeps_the_same_share_of_each_and_its_floor():
    scores = [torch.tensor([9.0, 8.0, 7.0, 6.0]), torch.tensor([1.0, 2.0])]
    assert [int(mask.sum()) for mask in keep_best(scores, 0.5, [1, 1], "layer")] == [2, 1]
    assert [int(mask.sum()) for mask in keep_best(scores, 0.01, [1, 2], "layer")] == [1, 2]


def test_in_both_rankings_the_larger_of_equal_scores_stay():
    sizes = [torch.tensor([3.0, 1.0, 4.0, 2.0])]
    for ranking in ("global", "layer"):
        (mask,) = keep_best([torch.zeros(4)], 0.5, [1], ranking, sizes)
        assert mask.tolist() == [True, False, True, False]

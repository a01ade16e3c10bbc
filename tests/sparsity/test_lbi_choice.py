import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.sparsity.lbi_choice import (
    epoch_of_step,
    keep_share,
    or_best,
    ordered_scores,
    relative_product,
)
from compressor.structure import NEVER


def test_epochs_have_equally_many_steps():
    epochs = epoch_of_step(torch.arange(1, 13), num_steps=12, num_epochs=3)
    assert epochs.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_what_entered_earlier_ranks_higher_and_what_never_did_last():
    norms = torch.tensor([0.5, 0.5, 0.5, 9.0])
    scores = ordered_scores(norms, torch.tensor([2, 0, 1, NEVER]), num_epochs=5)
    assert scores.argsort(descending=True).tolist() == [1, 2, 0, 3]


def test_norms_decide_among_those_of_one_epoch_and_where_they_differ_by_more():
    scores = ordered_scores(torch.tensor([0.1, 0.2, 4.0]), torch.tensor([1, 1, 3]), num_epochs=5)
    assert scores.argsort(descending=True).tolist() == [2, 1, 0]


@given(st.integers(1, 30), st.floats(0.01, 1))
def test_the_share_is_exact_and_never_nothing(num, density):
    kept = keep_share(torch.zeros(num), density)
    assert int(kept.sum()) == max(1, round(density * num))


def test_an_empty_support_keeps_the_group_that_is_nearest():
    nothing, duals = torch.zeros(2, 2, dtype=torch.bool), torch.tensor([[0.1, 0.7], [0.3, 0.0]])
    weights = torch.tensor([[0.0, 1.0], [9.0, 2.0]])
    assert or_best(nothing, duals, weights).tolist() == [[False, True], [False, False]]
    before = or_best(nothing, torch.zeros(2, 2), weights)
    assert before.tolist() == [[False, False], [True, False]]
    some = torch.tensor([[True, False], [False, False]])
    assert or_best(some, duals, weights) is some


def test_factors_count_over_their_means_and_zeros_not_at_all():
    product = relative_product([torch.tensor([1.0, 3.0]), torch.zeros(2), torch.tensor([2.0, 2.0])])
    assert product.tolist() == [0.5, 1.5]
    assert product.dtype == torch.float64

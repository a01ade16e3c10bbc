"""What of a checkpoint is taken, and what is refused by name."""

import pytest
import torch

from compressor.errors import TrainError
from compressor.sparsity.saved import check_method, saved_tensor


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"method": "rigl", "level": "unit"}, "rigl at level unit"),
        ({"method": "optg", "level": "weight"}, "optg at level weight"),
        ({}, "another method at level unit"),
    ],
)
def test_another_method_or_level_is_refused_with_both_names(state, found):
    check_method({"method": "optg", "level": "unit"}, "optg", "unit")  # that one is taken
    with pytest.raises(TrainError, match=f"{found}, the run of optg at level unit"):
        check_method(state, "optg", "unit")


def test_a_saved_tensor_comes_as_a_copy_of_the_type_of_the_old_one():
    state = {"score": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    value = saved_tensor(state, "score", torch.zeros(2))
    value += 1
    assert value.dtype == torch.float32
    assert state["score"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("state", [{}, {"score": torch.zeros(3)}, {"score": [0.0, 0.0]}])
def test_a_tensor_that_is_missing_or_of_another_shape_is_refused_by_name(state):
    with pytest.raises(TrainError, match=r"score: .* shape \(2,\)"):
        saved_tensor(state, "score", torch.zeros(2))

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.errors import TrainError
from compressor.train.attention import attention_loss, attention_map, mean_attention_loss


def activations(seed, channels=5, places=(3, 4)):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, *places, generator=draw)


def loss_of(student, teacher):
    return attention_loss(attention_map(student), attention_map(teacher))


def test_a_map_is_the_energy_of_each_place_over_its_norm():
    # One image, two channels, two places: energies 9 and 4.
    image = torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]])
    expected = torch.tensor([[9.0, 4.0]]) / math.sqrt(97)
    assert torch.allclose(attention_map(image), expected)


def test_tokens_have_their_channels_last():
    tokens = activations(0).flatten(2)
    assert torch.allclose(attention_map(tokens.transpose(1, 2)), attention_map(activations(0)))


def test_a_dead_stage_has_a_map_and_a_gradient_of_zeros():
    dead = torch.zeros(2, 5, 3, 4, requires_grad=True)
    loss = loss_of(dead, activations(0))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert torch.equal(dead.grad, torch.zeros_like(dead))


def test_maps_of_half_precision_are_taken_in_float32():
    # 300 squared is more than float16 holds.
    large = torch.full((1, 2, 2, 2), 300.0, dtype=torch.float16)
    assert torch.allclose(attention_map(large), torch.full((1, 4), 0.5))


@given(seed=st.integers(0, 9), scale=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]))
def test_equal_maps_cost_nothing_whatever_scales_the_activations(seed, scale, sign):
    assert loss_of(sign * scale * activations(seed), activations(seed)).item() < 1e-10


@given(seed=st.integers(1, 9), scale=st.floats(0.01, 100))
def test_scaling_either_network_changes_nothing(seed, scale):
    expected = loss_of(activations(seed), activations(0)).item()
    assert loss_of(scale * activations(seed), activations(0)).item() == pytest.approx(
        expected, rel=1e-4
    )
    assert loss_of(activations(seed), scale * activations(0)).item() == pytest.approx(
        expected, rel=1e-4
    )


@given(seed=st.integers(1, 9), channels=st.integers(1, 7))
def test_it_is_one_minus_the_cosine_of_the_energies_for_any_number_of_channels(seed, channels):
    slim, dense = activations(seed, channels), activations(0)
    energies = [x.square().sum(1).flatten(1) for x in (slim, dense)]
    cosine = torch.nn.functional.cosine_similarity(*energies)
    assert loss_of(slim, dense).item() == pytest.approx((1 - cosine).mean().item(), abs=1e-6)


def test_maps_that_share_no_place_cost_one():
    left = torch.tensor([[[[1.0, 0.0]]]])
    assert loss_of(left, left.flip(-1)).item() == pytest.approx(1.0)


def test_the_gradient_is_that_of_the_numbers_and_goes_to_the_student_alone():
    slim = activations(1, 2).double().requires_grad_(True)
    dense = activations(0).requires_grad_(True)
    loss_of(slim, dense).backward()
    assert dense.grad is None
    step = 1e-2
    moved = [slim.detach().clone() for _ in range(2)]
    moved[0][1, 0, 2, 3] += step
    moved[1][1, 0, 2, 3] -= step
    slope = (loss_of(moved[0], dense) - loss_of(moved[1], dense)).item() / (2 * step)
    assert slim.grad[1, 0, 2, 3].item() == pytest.approx(slope, rel=0.02, abs=1e-5)


def test_stages_count_alike_however_many_there_are():
    maps = [attention_map(activations(seed)) for seed in range(4)]
    parts = [attention_loss(maps[0], maps[1]), attention_loss(maps[2], maps[3])]
    mean = mean_attention_loss([maps[0], maps[2]], [maps[1], maps[3]])
    assert mean.item() == pytest.approx(sum(parts).item() / 2)


def test_maps_of_other_sizes_are_refused_and_never_stretched():
    one_place = attention_map(activations(0, places=(1, 1)))
    with pytest.raises(TrainError, match=r"\[2, 1\] and \[2, 12\]"):
        attention_loss(one_place, attention_map(activations(0)))

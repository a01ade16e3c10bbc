import pytest
import torch

from compressor.sparsity import gate_parts
from compressor.sparsity.gate_functions import (
    Pull,
    gated_weights,
    largest_beta,
    over_threshold,
    quasi_norm,
)
from compressor.sparsity.gate_parts import (
    PART,
    Sums,
    quasi_norm_slope,
    show_,
    sweep,
    weight_gradients_,
)

SHAPES = [(5,), (4, 5), (6, 4, 3, 3)]


@pytest.fixture
def small_parts(monkeypatch):
    """So that the smallest tensors have several parts."""
    monkeypatch.setattr(gate_parts, "PART", 3)


def logit(share):
    return torch.logit(torch.tensor(share, dtype=torch.float64))


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_parts_are_views_that_cover_each_entry_once(small_parts):
    first, second = draw(5, 2), draw(5, 2, seed=1)
    found = list(sweep(first, second))
    assert len(found) > 1
    for one, other in found:
        one.add_(other)
    assert torch.equal(first, draw(5, 2) + second)


def test_a_tensor_that_fits_is_one_part_and_a_larger_one_has_whole_rows():
    assert len(list(sweep(torch.zeros(PART)))) == 1
    sizes = [len(some) for (some,) in sweep(torch.zeros(10, PART // 4 + 1))]
    assert sizes == [3, 3, 3, 1]


def test_spare_memory_has_the_shape_of_its_part(small_parts):
    shapes = [(some.shape, spare.shape) for some, spare in sweep(draw(5, 2), num_spare=1)]
    assert len(shapes) == 5
    assert all(one == other for one, other in shapes)


def test_a_row_larger_than_a_part_stays_whole(small_parts):
    assert [some.shape for (some,) in sweep(torch.zeros(2, 9))] == [(1, 9), (1, 9)]


@pytest.mark.parametrize("p", [0.3, 0.5, 1.0])
def test_the_slope_of_the_quasi_norm_is_that_of_autograd(p, small_parts):
    weights, threshold = draw(4, 5), torch.tensor(0.3, dtype=torch.float64)
    values = (weights.abs() - threshold).relu().requires_grad_()
    (expected,) = torch.autograd.grad(quasi_norm(values, p), values)
    offset, of_mean, scale = quasi_norm_slope(weights, threshold, p, values.sum().detach())
    found = ((values.detach() + offset).pow(p - 1) + of_mean) * scale
    assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("flow", ["plain", "rectified"])
@pytest.mark.parametrize("p", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_weights_are_those_of_autograd(shape, p, flow, small_parts):
    weights, gradient = draw(*shape), draw(*shape, seed=1)
    beta, pull = logit(0.6 / weights.numel()), Pull(0.3, p, "independent", flow)
    true, free = weights.clone().requires_grad_(), beta.clone().requires_grad_()
    values = over_threshold(true.abs(), free, flow)
    assert 0 < int((values == 0).sum()) < values.numel()
    total = (gradient * true.sign() * values).sum() + 0.3 * quasi_norm(values, p)
    expected = torch.autograd.grad(total, (true, free))
    sums = Sums(weights.abs().sum(), values.sum().detach())
    of_beta = weight_gradients_(weights, beta, gradient, pull, sums)
    assert torch.allclose(gradient, expected[0], rtol=1e-9, atol=1e-12)
    assert torch.allclose(of_beta, expected[1], rtol=1e-9)
    assert torch.equal(weights, draw(*shape))


@pytest.mark.parametrize("gradient_format", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_changes_nothing(gradient_format, small_parts):
    weights, gradient = draw(6, 4, 3, 3), draw(6, 4, 3, 3, seed=1)
    beta, pull = logit(0.005), Pull(0.3, 0.5, "independent", "plain")
    turned = weights.contiguous(memory_format=torch.channels_last)
    found = gradient.clone(memory_format=gradient_format)
    sums = show_(weights.clone(), beta)
    weight_gradients_(turned, beta, found, pull, sums)
    weight_gradients_(weights, beta, gradient, pull, sums)
    assert torch.allclose(found, gradient, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_shown_is_the_printed_formula(shape, small_parts):
    weights, beta = draw(*shape), logit(0.5 / draw(*shape).numel())
    expected, before = gated_weights(weights, beta), beta.clone()
    sums = show_(weights, beta)
    assert torch.allclose(weights, expected, rtol=1e-12)
    assert torch.allclose(sums.sizes, draw(*shape).abs().sum())
    assert torch.allclose(sums.values, expected.abs().sum())
    assert torch.equal(weights == 0, expected == 0)
    assert torch.equal(beta, before)


def test_a_threshold_that_would_kill_all_is_lowered_to_the_guard(small_parts):
    weights, beta = draw(4, 5), logit(0.9)
    guard = largest_beta(weights.abs())
    show_(weights, beta)
    assert torch.allclose(beta, guard, rtol=1e-12)
    assert (weights != 0).any()

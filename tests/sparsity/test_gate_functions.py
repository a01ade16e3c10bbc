import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.sparsity.gate_functions import (
    GUARD,
    Pull,
    first_alpha,
    first_beta,
    first_weights,
    gated_weights,
    hinge,
    largest_beta,
    over_threshold,
    quasi_norm,
    unit_gates,
    unit_gradients,
)

FORMS = ["independent", "competitive"]

sizes_of_sets = st.lists(st.floats(0.01, 100), min_size=1, max_size=12).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)
shares = st.floats(0.001, 0.999)


def logit(share):
    return torch.logit(torch.tensor(share, dtype=torch.float64))


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@given(sizes_of_sets, shares)
def test_those_are_over_the_threshold_whose_share_is_above_it(sizes, share):
    over = over_threshold(sizes, logit(share)) > 0
    margin = sizes / sizes.sum() - share
    clear = margin.abs() > 1e-12
    assert torch.equal(over[clear], margin[clear] > 0)


@given(sizes_of_sets, shares)
def test_fewer_are_alive_than_one_over_the_share(sizes, share):
    assert int((over_threshold(sizes, logit(share)) > 0).sum()) < 1 / share


@given(sizes_of_sets, st.floats(0.5, 1.5).filter(lambda factor: abs(factor - 1) > 1e-9))
def test_all_die_just_where_the_share_is_the_largest_or_more(sizes, factor):
    share = factor * float(sizes.max() / sizes.sum())
    if share < 1:
        alive = bool((over_threshold(sizes, logit(share)) > 0).any())
        assert alive == (factor < 1)


@given(sizes_of_sets)
def test_below_the_guard_the_largest_lives(sizes):
    beta = largest_beta(sizes)
    assert float(torch.sigmoid(beta)) == pytest.approx(GUARD * float(sizes.max() / sizes.sum()))
    assert over_threshold(sizes, beta)[sizes.argmax()] > 0


@given(sizes_of_sets)
def test_competitive_gates_have_a_mean_of_one_and_no_scale(sizes):
    beta = torch.minimum(logit(0.3 / len(sizes)), largest_beta(sizes))
    gates = unit_gates(sizes.log(), beta, "competitive")
    assert float(gates.mean()) == pytest.approx(1)
    again = unit_gates((7 * sizes).log(), beta, "competitive")
    assert torch.allclose(again, gates, atol=1e-9)


def test_independent_gates_scale_with_gamma():
    alpha, beta = draw(5), torch.tensor(-2.5, dtype=torch.float64)
    gates = unit_gates(alpha, beta, "independent")
    assert torch.allclose(unit_gates(alpha + math.log(7), beta, "independent"), 7 * gates)
    assert (gates == 0).any()
    assert (gates > 0).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_gates", [1, 2, 64, 2048])
def test_first_gates_are_one(form, num_gates):
    alpha, beta = torch.full((num_gates,), first_alpha()), torch.tensor(first_beta(num_gates))
    gates = unit_gates(alpha, beta, form)
    assert torch.allclose(gates, torch.ones(num_gates), rtol=1e-5)


def test_first_true_weights_show_the_weights():
    weights = draw(4, 3, 3)
    beta = torch.tensor(first_beta(weights.numel()), dtype=torch.float64)
    assert torch.allclose(gated_weights(first_weights(weights), beta), weights, rtol=1e-12)


def test_gated_weights_are_the_printed_formula():
    weights = torch.tensor([3.0, -1.0, 0.0, 0.5], dtype=torch.float64)
    shown = gated_weights(weights, logit(1 / 4.5))
    assert torch.allclose(shown, torch.tensor([2.0, 0.0, 0.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_gates_are_right_away_from_kinks(form):
    alpha, beta = draw(6).requires_grad_(), logit(0.15).requires_grad_()
    assert (unit_gates(alpha, beta, form) == 0).any()
    assert torch.autograd.gradcheck(lambda a, b: unit_gates(a, b, form), (alpha, beta))


def test_gradients_of_gated_weights_are_right_away_from_kinks():
    weights, beta = draw(3, 4).requires_grad_(), logit(0.05).requires_grad_()
    assert (gated_weights(weights, beta) == 0).any()
    assert torch.autograd.gradcheck(gated_weights, (weights, beta))


def test_the_rectified_hinge_flows_back_as_elu_does():
    x = torch.tensor([-2.0, -0.1, 0.3, 4.0], dtype=torch.float64, requires_grad=True)
    shown = hinge(x, "rectified")
    assert torch.equal(shown, hinge(x, "plain"))
    (flowed,) = torch.autograd.grad(shown.sum(), x)
    (of_elu,) = torch.autograd.grad(torch.nn.functional.elu(x).sum(), x)
    assert torch.equal(flowed, of_elu)


@pytest.mark.parametrize("p", [0.3, 0.5, 1.0])
def test_the_quasi_norm_of_equal_values_is_their_sum(p):
    assert float(quasi_norm(torch.full((9,), 0.7, dtype=torch.float64), p)) == pytest.approx(6.3)


@given(sizes_of_sets, st.floats(0.2, 1))
def test_the_quasi_norm_scales_with_its_values_and_falls_where_they_differ(sizes, p):
    norm = float(quasi_norm(sizes, p))
    assert float(quasi_norm(3 * sizes, p)) == pytest.approx(3 * norm)
    assert norm <= float(sizes.sum()) * (1 + 1e-9)


def test_the_quasi_norm_is_the_papers_but_for_its_factor():
    values = draw(50).abs() + 0.5
    papers = values.pow(0.5).sum().square() / 50
    assert float(quasi_norm(values, 0.5)) == pytest.approx(float(papers), rel=0.01)


def test_small_values_are_pulled_harder_and_never_without_bound():
    values = torch.tensor([1.0, 0.01, 0.0], dtype=torch.float64, requires_grad=True)
    (pull,) = torch.autograd.grad(quasi_norm(values, 0.5), values)
    assert pull[0] < pull[1] < pull[2] < 100
    assert torch.autograd.gradcheck(lambda v: quasi_norm(v, 0.5), (values,), atol=1e-4)


def test_gradients_of_units_are_those_of_the_hand():
    alpha, worth = draw(6), draw(6, seed=1)
    beta, pull = logit(0.15), Pull(0.3, 1.0, "independent", "plain")
    of_alpha, of_beta = unit_gradients(alpha, beta, worth, pull)
    alive = (unit_gates(alpha, beta, "independent") > 0).double()
    at_gate = (worth + 0.3) * alive
    assert torch.allclose(of_alpha, alpha.exp() * (at_gate - 0.15 * at_gate.sum()))
    assert torch.allclose(of_beta, -0.15 * 0.85 * alpha.exp().sum() * at_gate.sum())

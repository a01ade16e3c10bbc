import math

import pytest
import torch
from torch import nn

from compressor.errors import TrainError
from compressor.sparsity.lbi_forecast import (
    check_constant,
    check_plain,
    check_rate,
    enters_alone,
    entry_time,
    forecast,
    safe_rate,
    support_notices,
)

NORMS = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)


def alone(norm, threshold, nu, kappa, rate, num_steps):
    """Whether a group without gradient enters, step by step."""
    weight, dual, entered = norm, 0.0, False
    for _ in range(num_steps):
        gap = weight / nu
        weight, dual = weight - rate * gap, dual + rate / kappa * gap
        entered = entered or dual > threshold
    return entered


@pytest.mark.parametrize("num_steps", [300, 1000, 2500])
@pytest.mark.parametrize("kappa", [1.0, 3.0])
def test_what_enters_alone_is_what_enters_step_by_step(kappa, num_steps):
    threshold, nu, rate = 1.5 / kappa, 2.0, 0.001
    found = enters_alone(NORMS, threshold, nu, kappa, rate * num_steps)
    expected = [alone(n, threshold, nu, kappa, rate, num_steps) for n in NORMS.tolist()]
    assert found.tolist() == expected


def test_a_constant_norm_enters_when_the_clock_says():
    nu, kappa, threshold, norm, rate = 3.0, 2.0, 0.7, 0.5, 0.01
    steps = math.ceil(threshold / (rate / kappa * norm / nu))
    assert entry_time(norm, threshold, nu, kappa) == pytest.approx(steps * rate, rel=0.01)
    assert entry_time(0.0, threshold, nu, kappa) == math.inf


def test_the_safe_rate_without_curvature_is_nu():
    assert safe_rate(0.0, 0.25) == pytest.approx(0.25)
    assert safe_rate(10.0, 1e9) == pytest.approx(0.2)


@pytest.mark.parametrize(("rate", "stable"), [(0.245, True), (0.255, False)])
def test_without_a_loss_the_gap_dies_out_exactly_below_the_safe_rate(rate, stable):
    # Beyond its threshold a group moves as if it had none: W and kappa Z - cut approach each other.
    nu, weight, gamma = 0.25, 10.0, 9.0
    for _ in range(400):
        pull = rate * (weight - gamma) / nu
        weight, gamma = weight - pull, gamma + pull
    assert (abs(weight - gamma) < 1e-3) == stable
    assert (abs(weight - gamma) > 1e3) != stable


def test_a_rate_that_is_not_below_nu_is_refused_with_both():
    check_rate(0.0999, 0.1)
    with pytest.raises(TrainError, match=r"learning rate 0.1 is not below nu, 0.05"):
        check_rate(0.1, 0.05)


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        (torch.optim.AdamW, {}, 'optimiser is AdamW.*train.optimizer = "sgd"'),
        (torch.optim.SGD, {"momentum": 0.9}, "momentum is 0.9.*train.momentum = 0"),
        (torch.optim.SGD, {"weight_decay": 5e-4}, "weight_decay is 0.0005.*train.weight_decay = 0"),
    ],
)
def test_an_optimiser_that_is_not_plain_is_refused_with_the_key_to_set(make, options, match):
    layer = nn.Linear(2, 2)
    groups = [{"params": [layer.weight]}, {"params": [layer.bias], **options}]
    check_plain(torch.optim.SGD(layer.parameters(), lr=0.1))
    with pytest.raises(TrainError, match=match):
        check_plain(make(groups, lr=0.1))


def test_a_rate_that_changed_is_refused_with_both():
    check_constant(0.1, 0.1)
    with pytest.raises(TrainError, match=r"went from 0.1 to 0.05.*train.schedule"):
        check_constant(0.05, 0.1)


def test_a_support_that_stays_empty_is_foreseen_by_a_clear_factor_only():
    initial = [(torch.ones(4), 1.0), (torch.full((4,), 2.0), 8.0)]
    assert forecast(initial, nu=15.0, kappa=1.0, path_time=10.0) == []
    (line,) = forecast(initial, nu=25.0, kappa=1.0, path_time=10.0)
    assert "needs path time 25 to enter (nu 25), and the run has 10" in line


def test_groups_that_enter_without_gradients_are_foreseen():
    enough = torch.cat([torch.ones(1), torch.full((19,), 5.0)])
    (line,) = forecast([(enough, 1.5)], nu=1.0, kappa=1.0, path_time=10.0)
    assert line.startswith("95% of the groups enter without any gradient")
    assert "kappa lambda w_g (1.5 and more)" in line
    assert forecast([(enough, 1.5)], nu=6.0, kappa=1.0, path_time=1.0) == []
    assert forecast([(enough, 6.0)], nu=1.0, kappa=1.0, path_time=10.0) == []


def test_nothing_is_foreseen_of_nothing():
    assert forecast([], nu=1.0, kappa=1.0, path_time=1.0) == []
    assert support_notices(0, 0, 0.9, nu=1.0) == []


@pytest.mark.parametrize(
    ("kept", "share", "start"),
    [(0, 0.8, "The support is still empty after 80%"), (9, 0.5, "The support is full after 50%")],
)
def test_an_empty_and_a_full_support_are_noted(kept, share, start):
    assert support_notices(kept, 9, share, nu=1.0)[0].startswith(start)
    assert support_notices(5, 9, share, nu=1.0) == []

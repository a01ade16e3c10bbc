"""Paths that are known in closed form, in float64."""

import math

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.sparsity.base import Horizon
from compressor.sparsity.prox import soft_threshold
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings

from .formulas import augmented_loss

LONG = Horizon(num_steps=10_000, path_time=1000.0, seed=0)
NO_COUPLINGS = Couplings(())
TINY = 1e-9
"""Weights start here: as good as nothing, but with a norm to measure lambda by."""


def attached(model, rate, couplings=NO_COUPLINGS, **settings):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    sparsifier = SplitLBI(SplitLBISettings(**settings), LONG)
    sparsifier.attach(model, optimizer, couplings)
    return sparsifier, optimizer


def linear(size):
    model = nn.Linear(size, 1, bias=False).double()
    nn.init.constant_(model.weight, TINY)
    return model


def descend(model, optimizer, hessian, linear_term, num_steps, each=lambda _step: None):
    """Steps on ``1/2 w'Hw - c'w``."""
    for step in range(1, num_steps + 1):
        model.weight.grad = model.weight.detach() @ hessian - linear_term
        optimizer.step()
        each(step)


def zero_steps(model, optimizer, num_steps):
    for _ in range(num_steps):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()


def gamma_of(sparsifier, name="weight"):
    return sparsifier._twins[name].gamma(name)[0]


# --- least squares ---

TARGETS = torch.tensor([3.0, -1.5, 0.8], dtype=torch.float64)


def test_without_splitting_each_coordinate_waits_for_its_clock_and_then_relaxes():
    kappa, alpha, num_steps = 4.0, 1e-3, 1000
    dual, beta = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(num_steps):
        dual = dual + alpha * (TARGETS - beta)
        beta = kappa * soft_threshold(dual, 1.0)
    waited = (alpha * num_steps - 1 / TARGETS.abs()).clamp_min(0)
    expected = TARGETS * (1 - torch.exp(-kappa * waited))
    assert torch.allclose(beta, expected, atol=0.02)
    assert beta[2] == 0


def test_with_a_tiny_nu_the_path_is_that_without_splitting_at_half_the_damping():
    # W stays at Gamma, so the sum of Z and W / kappa moves Gamma against twice its inertia.
    kappa, rate, num_steps = 4.0, 4e-3, 1000
    model = linear(3)
    sparsifier, optimizer = attached(
        model, rate, level="weight", nu=0.01, lam=1 / TINY, kappa=kappa
    )
    descend(model, optimizer, torch.eye(3).double(), TARGETS, num_steps)
    waited = (rate / kappa * num_steps - 1 / TARGETS.abs()).clamp_min(0)
    expected = TARGETS * (1 - torch.exp(-kappa / 2 * waited))
    assert torch.allclose(gamma_of(sparsifier)[0], expected, atol=0.05)
    assert gamma_of(sparsifier)[0, 2] == 0


def test_before_its_entry_a_coordinate_moves_z_as_the_closed_form_says():
    kappa, rate, nu, target = 3.0, 1e-3, 0.7, 2.0
    model = linear(1)
    sparsifier, optimizer = attached(
        model, rate, level="weight", nu=nu, lam=100 / TINY, kappa=kappa
    )
    found, expected = [], []

    def note(step):
        time, mu = rate / kappa * step, kappa * (1 + 1 / nu)
        found.append(float(sparsifier._twins["weight"].dual_norms("weight")))
        expected.append(target / (1 + nu) * (time - (1 - math.exp(-mu * time)) / mu))

    descend(model, optimizer, torch.eye(1).double(), torch.tensor([target]), 3000, note)
    assert found == pytest.approx(expected, abs=1e-3)
    assert found[-1] > 0.5


def test_the_first_weight_enters_when_general_least_squares_says():
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(30, 6, dtype=torch.float64, generator=draw)
    hessian = x.T @ x / 30
    pull = x.T @ (x @ torch.tensor([2.0, 0, -3.0, 0.5, 0, 1.0], dtype=torch.float64)) / 30
    nu, kappa, rate = 2.0, 100.0, 0.2
    ridge = torch.linalg.solve(nu * hessian + torch.eye(6).double(), pull).abs()
    model = linear(6)
    sparsifier, optimizer = attached(model, rate, level="weight", nu=nu, lam=1 / TINY, kappa=kappa)
    entered = []

    def note(step):
        if not entered and (support := sparsifier._twins["weight"].support("weight")).any():
            entered.extend([step * rate / kappa, support[0].nonzero().flatten().tolist()])

    descend(model, optimizer, hessian, pull, 1300, note)
    assert entered[1] == [int(ridge.argmax())]
    assert entered[0] == pytest.approx(1 / float(ridge.max()), rel=0.03)


# --- no gradient ---


@pytest.mark.parametrize("level", ["filter", "weight"])
def test_without_gradients_groups_enter_and_settle_as_the_closed_form_says(level):
    torch.manual_seed(0)
    kappa, rate, nu, lam = 2.0, 0.02, 0.5, 0.4
    model = nn.Conv1d(2, 5, 3, bias=False).double()
    first = model.weight.detach().clone()
    norms = first.flatten(1).norm(dim=1).view(-1, 1, 1) if level == "filter" else first.abs()
    cut = kappa * lam * norms.mean()
    sparsifier, optimizer = attached(model, rate, level=level, nu=nu, lam=lam, kappa=kappa)
    supports = []
    for _ in range(1200):
        zero_steps(model, optimizer, 1)
        supports.append(sparsifier._twins["weight"].support("weight").flatten())
    found = torch.where(
        supports[-1], torch.stack(supports).int().argmax(dim=0) + 1, torch.tensor(-1)
    )
    inside = norms.flatten() > cut
    steps = torch.log(1 - cut / norms.flatten()) / math.log(1 - rate / nu)
    expected = torch.where(inside, steps.floor() + 1, -1)
    assert torch.equal(found, expected.long())
    assert 0 < inside.sum() < len(inside)
    limit = first / norms * (norms - cut).clamp_min(0) / 2
    assert torch.allclose(model.weight, limit, atol=1e-9)
    assert torch.allclose(gamma_of(sparsifier), limit, atol=1e-9)


@pytest.mark.parametrize("nu", [0.052, 0.06, 1.0])
def test_at_a_rate_below_nu_the_gap_dies_out_without_a_loss(nu):
    model = linear(1)
    nn.init.constant_(model.weight, 5.0)
    sparsifier, optimizer = attached(model, 0.05, level="weight", nu=nu, lam=0.1)
    zero_steps(model, optimizer, 500)
    assert abs(float(model.weight.detach() - gamma_of(sparsifier))) < 1e-6
    assert float(gamma_of(sparsifier)) == pytest.approx((5.0 - 0.5) / 2)


# --- symmetries ---


def images():
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(24, 2, 7, dtype=torch.float64, generator=draw)
    return x, torch.randn(24, 3, dtype=torch.float64, generator=draw)


def small_net(order=None, twins=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(30, 3)).double()
    with torch.no_grad():
        if order is not None:
            model[0].weight.copy_(model[0].weight[order])
            model[0].bias.copy_(model[0].bias[order])
            model[3].weight.copy_(model[3].weight.view(3, 6, 5)[:, order].reshape(3, 30))
        if twins:
            model[0].weight[1], model[0].bias[1] = model[0].weight[4], model[0].bias[4]
            model[3].weight[:, 5:10] = model[3].weight[:, 20:25]
    return model


def loss_of(model):
    x, y = images()
    return (model(x) - y).square().mean()


def entries(model):
    sparsifier, optimizer = attached(model, 0.05, level="filter", nu=1.5, lam=0.8)
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return sparsifier._twins["0.weight"].entries("0.weight")[0]


def test_permuting_filters_permutes_their_path():
    order = torch.tensor([3, 0, 5, 4, 1, 2])
    straight = entries(small_net())
    assert torch.equal(entries(small_net(order)), straight[order])
    assert len(straight.unique()) > 2, "the filters should differ"


def test_equal_filters_enter_together():
    steps = entries(small_net(twins=True))
    assert steps[1] == steps[4] > 0
    assert len(steps.unique()) > 2, "the filters should differ"


# --- descent ---

UNITS = Couplings(
    (Coupling("0", 6, (Member("0.weight", 0, torch.arange(6).view(6, 1), "filter"),)),)
)


@pytest.mark.parametrize("level", ["unit", "filter", "weight"])
def test_in_the_convergent_form_the_augmented_loss_never_rises(level):
    model, nu = small_net(), 1.0
    couplings = UNITS if level == "unit" else NO_COUPLINGS
    sparsifier, optimizer = attached(
        model, 0.1, couplings, level=level, preset="split-lbi", nu=nu, lam=0.5
    )
    values = []
    for _ in range(400):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        pairs = [
            (weights, gamma)
            for _, twins in sparsifier._joined
            for weights, gamma in zip(twins._weights(), twins._gammas(), strict=True)
        ]
        weights, gammas = zip(*pairs, strict=True)
        values.append(float(augmented_loss(loss.detach(), weights, gammas, nu)))
        optimizer.step()
    rises = [after - before for before, after in zip(values, values[1:], strict=False)]
    assert max(rises) <= 1e-12
    assert values[-1] < 0.9 * values[0]
    assert sparsifier.metrics()["support_share"] > 0

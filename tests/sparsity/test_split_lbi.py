"""The iteration against its transcription, its invariants and its closed forms."""

import copy
import math

import pytest
import torch
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member, named_tensors
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.lbi_forecast import calibrated_nu
from compressor.sparsity.lbi_twins import twin_members
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.structure import NEVER
from compressor.tasks.classification import Classification, TaskSettings
from compressor.train.loop import Surroundings, train

LONG = Horizon(num_steps=1000, path_time=100.0, seed=0)


def whole_axis(tensor, axis, num_units, kind="filter", block=1):
    index = torch.arange(num_units * block).view(num_units, block)
    return Member(tensor, axis, index, kind)


def coupling(name, num_units, *members):
    return Coupling(name, num_units, members)


def attached(model, optimizer, *couplings, horizon=LONG, **settings):
    sparsifier = SplitLBI(SplitLBISettings(**settings), horizon)
    sparsifier.attach(model, optimizer, Couplings(couplings))
    return sparsifier


def dual_of(sparsifier, name):
    return sparsifier.state_dict()["twins"][name]["dual"][0]


def gamma_of(sparsifier, name):
    return sparsifier._twins[name].gamma(name)[0]


def rows(weights):
    """A bare parameter whose rows are units."""
    model = nn.Module()
    model.register_parameter("weight", nn.Parameter(torch.as_tensor(weights).double()))
    return model, coupling("rows", len(weights), whole_axis("weight", 0, len(weights)))


def still(optimizer, num_steps):
    """Steps without a gradient."""
    for _ in range(num_steps):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()


def two_layers(seed=0, hidden=5):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 2)).double()


def regression(seed=1, num=40):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 6, dtype=torch.float64, generator=draw)
    return x, torch.randn(num, 2, dtype=torch.float64, generator=draw)


HIDDEN = coupling("0", 5, whole_axis("0.weight", 0, 5), whole_axis("0.bias", 0, 5, "bias"))


def fit(model, optimizer, num_steps, rate=lambda _step: 0.05):
    x, y = regression()
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


# --- the published iteration ---


@pytest.mark.parametrize("kappa", [1.0, 2.5])
def test_it_equals_a_transcription_of_the_published_iteration(kappa):
    momentum, decay, nu, lam = 0.9, 1e-3, 6.0, 0.9 / kappa

    def rate(step):
        return 0.05 * (0.5 if step >= 150 else 1.0) / (1 + step / 300)

    model = two_layers()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum, weight_decay=decay)
    sparsifier = attached(model, optimizer, HIDDEN, nu=nu, lam=lam, kappa=kappa)
    fit(model, optimizer, 400, rate)

    x, y = regression()
    parameters = list(twin.parameters())
    weight = twin[0].weight
    threshold = lam * weight.detach().norm(dim=1).mean()
    buffers = [torch.zeros_like(p) for p in parameters]
    dual, gamma = torch.zeros_like(weight), torch.zeros_like(weight)
    entered = [NEVER] * 5
    for step in range(400):
        alpha = rate(step) / kappa
        gradients = torch.autograd.grad((twin(x) - y).square().mean(), parameters)
        with torch.no_grad():
            pull = (weight - gamma) / nu
            for p, b, g in zip(parameters, buffers, gradients, strict=True):
                b.copy_(momentum * b + g + decay * p)
                p -= kappa * alpha * (b + (pull if p is weight else 0))
            dual = dual + alpha * pull
            norms = dual.norm(dim=1, keepdim=True)
            gamma = kappa * dual * (1 - threshold / norms).clamp_min(0)
            for unit in (gamma != 0).any(dim=1).nonzero().flatten().tolist():
                entered[unit] = step + 1 if entered[unit] == NEVER else entered[unit]

    for found, expected in zip(model.parameters(), parameters, strict=True):
        assert (found - expected).abs().max() < 1e-10
    assert len(set(entered)) > 3, "the case would say little"
    assert sparsifier.path().couplings["0"].entry_step.tolist() == entered
    assert torch.allclose(gamma_of(sparsifier, "0"), gamma, atol=1e-10)


class Watched(SplitLBI):
    """Adds up what the optimiser applied, and compares what should be conserved."""

    def attach(self, model, optimizer, couplings):
        super().attach(model, optimizer, couplings)
        self.initial = [[w.clone() for w in twins._weights()] for _, twins in self._joined]
        self.sums = [[torch.zeros_like(w) for w in weights] for weights in self.initial]
        self.rates = set()
        optimizer.register_step_post_hook(self.add)

    def add(self, optimizer, *_):
        rate = optimizer.param_groups[0]["lr"]
        self.rates.add(rate)
        for (_, twins), sums in zip(self._joined, self.sums, strict=True):
            for part, total in zip(twins._parts, sums, strict=True):
                buffer = optimizer.state[self._tensors[part.tensor]]["momentum_buffer"]
                total += rate / self._settings.kappa * part.of(buffer)

    def drift(self):
        kappa = self._settings.kappa
        return max(
            float((z + (w - w0) / kappa + applied).abs().max())
            for (_, twins), initial, sums in zip(self._joined, self.initial, self.sums, strict=True)
            for z, w, w0, applied in zip(twins._duals, twins._weights(), initial, sums, strict=True)
        )

    def detach(self):
        self.drift_at_end = self.drift()
        super().detach()

    def moved(self):
        return max(float(z.abs().max()) for _, twins in self._joined for z in twins._duals)


class DoubleTask(Classification):
    def batch(self, places, generator):
        batch = super().batch(places, generator)
        return batch._replace(inputs=batch.inputs.double())

    def accuracy(self, *_):
        return 0.0


@pytest.mark.parametrize(
    "choice",
    [{"twin": "norm-scale"}, {"twin": "filter"}, {"level": "filter"}, {"level": "weight"}],
    ids=str,
)
def test_along_a_real_run_dual_plus_weights_plus_applied_gradients_is_conserved(
    choice, digits, toy_net, toy_job
):
    job = toy_job(task=DoubleTask(digits, TaskSettings()), batch_size=64, weight_decay=1e-3)
    settings = SplitLBISettings(**choice, kappa=2.0, lam=0.3, nu=0.6)
    watched = Watched(settings, LONG)
    model = toy_net("residual", num_classes=10).double()
    train(
        job.__class__(**{**vars(job), "model": model, "sparsifier": watched}),
        Surroundings(device="cpu"),
    )
    assert watched.drift_at_end < 1e-10
    assert len(watched.rates) > 10, "the learning rate should change"
    assert watched.structure().num_kept > 0
    assert watched.moved() > 0.01


def test_kappa_is_redundant_with_lambda_at_the_same_learning_rate():
    runs = []
    for kappa, lam in ((10.0, 0.02), (1.0, 0.2)):
        model = two_layers()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        sparsifier = attached(model, optimizer, HIDDEN, nu=4.0, lam=lam, kappa=kappa)
        fit(model, optimizer, 200)
        dual = kappa * dual_of(sparsifier, "0")
        runs.append((model[0].weight.detach(), dual, sparsifier.path().couplings["0"].entry_step))
    assert torch.allclose(runs[0][0], runs[1][0], atol=1e-12)
    assert torch.allclose(runs[0][1], runs[1][1], atol=1e-12)
    assert torch.equal(runs[0][2], runs[1][2])


def test_without_gradients_units_enter_and_settle_as_the_closed_form_says():
    norms = torch.tensor([1.0, 2.5, 4.0, 6.5], dtype=torch.float64)
    directions = nn.functional.normalize(torch.arange(1.0, 13.0).view(4, 3).cos(), dim=1).double()
    model, units = rows(norms.view(-1, 1) * directions)
    kappa, rate, nu, lam = 2.0, 0.02, 0.5, 0.25
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    sparsifier = attached(model, optimizer, units, nu=nu, lam=lam, kappa=kappa)
    still(optimizer, 3000)

    cut = kappa * lam * float(norms.mean())
    expected = [
        math.floor(math.log(1 - cut / norm) / math.log(1 - rate / nu)) + 1 if norm > cut else NEVER
        for norm in norms.tolist()
    ]
    units_path = sparsifier.path().couplings["rows"]
    assert units_path.entry_step.tolist() == expected
    assert expected[0] == NEVER
    assert expected[1] > expected[2] > expected[3]
    limit = (norms - cut).clamp_min(0) / 2
    assert torch.allclose(model.weight.detach(), limit.view(-1, 1) * directions, atol=1e-12)
    assert torch.allclose(gamma_of(sparsifier, "rows").norm(dim=1), limit, atol=1e-12)


def test_with_a_huge_nu_the_weights_are_those_of_plain_sgd():
    model, plain = two_layers(), two_layers()
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
    optimizer = torch.optim.SGD(model.parameters(), **options)
    sparsifier = attached(model, optimizer, HIDDEN, nu=1e12)
    fit(model, optimizer, 100)
    fit(plain, torch.optim.SGD(plain.parameters(), **options), 100)
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-9)
    assert sparsifier.structure().num_kept == 0


def test_with_a_huge_lambda_the_coupling_is_a_weight_decay_outside_momentum():
    model, units = rows([[1.0, 2.0], [3.0, -1.0]])
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    attached(model, optimizer, units, nu=5.0, lam=1e9)
    still(optimizer, 7)
    assert torch.allclose(model.weight, before * (1 - 0.1 / 5.0) ** 7, atol=1e-14)


def test_permuting_the_units_permutes_their_path():
    order = torch.tensor([3, 0, 4, 1, 2])
    model, permuted = two_layers(), two_layers()
    with torch.no_grad():
        permuted[0].weight.copy_(model[0].weight[order])
        permuted[0].bias.copy_(model[0].bias[order])
        permuted[2].weight.copy_(model[2].weight[:, order])
    paths = []
    for net in (model, permuted):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        sparsifier = attached(net, optimizer, HIDDEN, nu=3.0, lam=0.3)
        fit(net, optimizer, 200)
        paths.append(sparsifier.path().couplings["0"])
    assert torch.equal(paths[0].entry_step[order], paths[1].entry_step)
    assert torch.allclose(paths[0].score[order], paths[1].score)
    assert len(set(paths[0].entry_step.tolist())) > 2, "the units should differ"


# --- least squares, where entry times are known ---


def least_squares_path(hessian, linear, groups, nu, kappa=100.0, rate=0.2, num_steps=1300):
    """Entry times of groups of coordinates with lambda w_g = 1, weights from almost zero."""
    size = len(linear)
    start = 1e-9
    model, _ = rows(torch.full((1, size), start))
    block = size // groups
    units = coupling("columns", groups, whole_axis("weight", 1, groups, block=block))
    lam = 1 / (start * math.sqrt(block))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    sparsifier = attached(model, optimizer, units, nu=nu, lam=lam, kappa=kappa)
    for _ in range(num_steps):
        model.weight.grad = model.weight.detach() @ hessian - linear
        optimizer.step()
    return sparsifier.path().couplings["columns"].entry_time


@pytest.mark.parametrize(("groups", "nu"), [(6, 0.5), (3, 2.0)])
def test_the_first_group_enters_when_general_least_squares_says(groups, nu):
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(30, 6, dtype=torch.float64, generator=draw)
    x[:, 1] += 0.8 * x[:, 0]
    y = x @ torch.tensor([2.0, 0.0, -3.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    hessian, linear = x.T @ x / 30, x.T @ y / 30
    ridge = torch.linalg.solve(nu * hessian + torch.eye(6, dtype=torch.float64), linear)
    norms = ridge.view(groups, -1).norm(dim=1)
    times = least_squares_path(hessian, linear, groups, nu)
    assert times.argmin() == norms.argmax()
    assert float(times.min()) == pytest.approx(1 / float(norms.max()), rel=0.03)


def test_with_orthonormal_inputs_each_coordinate_enters_on_its_own_clock():
    linear = torch.tensor([3.0, -1.5, 0.8], dtype=torch.float64)
    nu = 1.0
    times = least_squares_path(torch.eye(3, dtype=torch.float64), linear, 3, nu)
    assert torch.allclose(times, (1 + nu) / linear.abs(), rtol=0.03)


# --- optimisers, groups and couplings of every kind ---


def test_the_pull_stays_outside_the_preconditioner_of_adamw():
    model, plain = two_layers(), two_layers()
    options = {"lr": 0.01, "weight_decay": 0.1}
    optimizer = torch.optim.AdamW(model.parameters(), **options)
    attached(model, optimizer, HIDDEN, nu=2.0, lam=100.0)
    before = model[0].weight.detach().clone()
    fit(model, optimizer, 1, rate=lambda _: 0.01)
    fit(plain, torch.optim.AdamW(plain.parameters(), **options), 1, rate=lambda _: 0.01)
    expected = plain[0].weight - 0.01 * before / 2.0
    assert torch.allclose(model[0].weight, expected, atol=1e-14)
    assert torch.equal(model[2].weight, plain[2].weight)


def two_tensors():
    model = nn.Module()
    model.a = nn.Parameter(torch.tensor([[3.0], [0.3]], dtype=torch.float64))
    model.b = nn.Parameter(torch.tensor([[4.0, 0.4]], dtype=torch.float64))
    shared = coupling("shared", 2, whole_axis("a", 0, 2), whole_axis("b", 1, 2))
    return model, shared


def test_a_unit_of_several_tensors_enters_by_its_joint_norm():
    model, shared = two_tensors()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    # Norms 5 and 0.5, mean 2.75: at this lambda the threshold is 4.5, above 3 and 4 alone.
    sparsifier = attached(model, optimizer, shared, nu=1.0, lam=4.5 / 2.75)
    still(optimizer, 2000)
    assert sparsifier.structure().keep["shared"].tolist() == [True, False]
    assert math.hypot(model.a[0].item(), model.b[0, 0].item()) == pytest.approx((5 - 4.5) / 2)


def test_members_in_different_groups_move_with_the_rate_of_the_first():
    model, shared = two_tensors()
    optimizer = torch.optim.SGD(
        [{"params": [model.b], "lr": 0.5}, {"params": [model.a], "lr": 0.1}]
    )
    before_a, before_b = model.a.detach().clone(), model.b.detach().clone()
    sparsifier = attached(model, optimizer, shared, nu=2.0, lam=100.0)
    still(optimizer, 1)
    assert torch.allclose(model.a, before_a * (1 - 0.1 / 2))
    assert torch.allclose(model.b, before_b * (1 - 0.1 / 2))
    assert sparsifier.metrics()["path_time"] == pytest.approx(0.1)


def test_a_norm_shared_by_two_couplings_is_pulled_once_everywhere():
    model = nn.Module()
    model.norm = nn.BatchNorm1d(5).double()
    with torch.no_grad():
        model.norm.weight.copy_(torch.arange(1.0, 6.0))
    first = coupling("first", 2, Member("norm.weight", 0, torch.tensor([[0], [1]]), "scale"))
    second = coupling("second", 3, Member("norm.weight", 0, torch.tensor([[2], [3], [4]]), "scale"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attached(model, optimizer, first, second, nu=1.0, lam=0.6)
    still(optimizer, 1)
    expected = torch.arange(1.0, 6.0).double() * 0.9
    assert torch.allclose(model.norm.weight, expected)
    still(optimizer, 400)
    kept = sparsifier.structure().keep
    # Thresholds 0.6 * 1.5 and 0.6 * 4, so the units 1 2 | 3 4 5 are all above them.
    assert kept["first"].all()
    assert kept["second"].all()


def test_the_rate_is_followed_after_the_optimiser_has_loaded_a_state():
    model, units = rows([[1.0, 2.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attached(model, optimizer, units, nu=1.0)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = 0.3
    before = model.weight.detach().clone()
    still(optimizer, 1)
    assert torch.allclose(model.weight, before * 0.7)
    assert sparsifier.metrics()["path_time"] == pytest.approx(0.3)


def test_a_parameter_outside_the_optimiser_is_refused():
    model, shared = two_tensors()
    optimizer = torch.optim.SGD([model.a], lr=0.1)
    with pytest.raises(
        TrainError, match="shared: its twin is carried by b, which is not in the optimiser"
    ):
        attached(model, optimizer, shared)


def test_weights_of_zero_are_refused():
    model, units = rows(torch.zeros(2, 3))
    with pytest.raises(TrainError, match="rows: all weights that would carry the twin are zero"):
        attached(model, torch.optim.SGD(model.parameters(), lr=0.1), units)


# --- calibration, choice of twin, reports ---


@pytest.mark.parametrize(("share", "lam", "kappa"), [(0.5, 1.0, 1.0), (0.25, 0.7, 3.0)])
def test_a_unit_that_keeps_its_norm_enters_after_the_share_of_the_run(share, lam, kappa):
    num_steps, rate = 1000, 0.07
    horizon = Horizon(num_steps, num_steps * rate, seed=0)
    model, units = rows([[0.6, 0.8]])
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    sparsifier = attached(
        model, optimizer, units, horizon=horizon, lam=lam, kappa=kappa, entry_share=share
    )
    assert sparsifier.nu == calibrated_nu(num_steps * rate, share, lam, kappa)
    for _ in range(num_steps):
        still(optimizer, 1)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[0.6, 0.8]]))
    entered = int(sparsifier.path().couplings["rows"].entry_step)
    assert abs(entered - share * num_steps) <= 1


NORMED = coupling(
    "conv", 2, whole_axis("conv.weight", 0, 2), whole_axis("norm.weight", 0, 2, "scale")
)
HALF_NORMED = coupling("conv", 2, *NORMED.members, whole_axis("other.weight", 0, 2))


@pytest.mark.parametrize(
    ("case", "twin", "carriers"),
    [
        (NORMED, "auto", ["norm.weight"]),
        (NORMED, "filter", ["conv.weight"]),
        (HALF_NORMED, "auto", ["conv.weight", "other.weight"]),
        (HALF_NORMED, "norm-scale", ["norm.weight"]),
        (HIDDEN, "auto", ["0.weight"]),
    ],
)
def test_the_twin_lies_on_norm_scales_where_every_producer_has_one(case, twin, carriers):
    assert [member.tensor for member in twin_members(case, twin)] == carriers


def test_norm_scales_that_do_not_exist_are_refused():
    with pytest.raises(TrainError, match='0: sparsity.twin is "norm-scale", but no norm'):
        twin_members(HIDDEN, "norm-scale")


def test_metrics_tell_time_support_and_distance():
    model, units = rows([[3.0, 4.0], [0.3, 0.4]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sparsifier = attached(model, optimizer, units, nu=0.1, lam=0.5)
    assert sparsifier.metrics() == {
        "path_time": 0.0,
        "support_share": 0.0,
        "distance": 1.0,
        "coupling_loss": pytest.approx((25 + 0.25) / 0.2),
    }
    still(optimizer, 400)
    metrics = sparsifier.metrics()
    assert metrics["path_time"] == pytest.approx(4.0)
    assert metrics["support_share"] == 0.5
    assert metrics["distance"] < 1e-6


def test_an_empty_support_is_noted_in_the_last_quarter_only():
    model, units = rows([[3.0, 4.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    horizon = Horizon(num_steps=10, path_time=0.1, seed=0)
    sparsifier = attached(model, optimizer, units, horizon=horizon, nu=0.15)
    still(optimizer, 7)
    assert sparsifier.notices() == []
    still(optimizer, 1)
    assert "still empty after 80% of the steps" in sparsifier.notices()[0]


def test_a_full_support_is_noted_before_the_end():
    model, units = rows([[3.0, 4.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    horizon = Horizon(num_steps=200, path_time=2.0, seed=0, num_epochs=4)
    sparsifier = attached(model, optimizer, units, horizon=horizon, nu=0.1, lam=0.1)
    still(optimizer, 150)
    assert "full after 75% of the steps" in sparsifier.notices()[0]
    still(optimizer, 50)
    assert sparsifier.notices() == []


def test_what_cannot_go_well_is_noted_in_the_first_epoch_only():
    model, units = rows([[3.0, 4.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    horizon = Horizon(num_steps=10, path_time=0.1, seed=0, num_epochs=5)
    sparsifier = attached(model, optimizer, units, horizon=horizon, nu=0.4)
    still(optimizer, 2)
    assert "needs path time 0.4 to enter (nu 0.4), and the run has 0.1" in sparsifier.notices()[0]
    still(optimizer, 1)
    assert sparsifier.notices() == []


def test_the_score_is_the_product_of_its_factors_over_their_means():
    model = nn.Module()
    model.conv, model.norm = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2)
    with torch.no_grad():
        model.conv.weight.copy_(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
        model.norm.weight.copy_(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attached(model, optimizer, NORMED, nu=1.0)
    filters, scales = torch.tensor([0.5, 1.5]), torch.tensor([2 / 3, 4 / 3])
    before = sparsifier.path().couplings["conv"].score
    assert torch.allclose(before, (filters * scales).double())
    still(optimizer, 1)
    after = sparsifier.path().couplings["conv"].score
    assert torch.allclose(after, (filters * scales * scales).double())


def test_a_path_given_away_does_not_change_any_more():
    model, units = rows([[3.0, 4.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = attached(model, optimizer, units, nu=1.0, lam=0.1)
    early = sparsifier.path().couplings["rows"]
    still(optimizer, 50)
    assert early.entry_step.tolist() == [NEVER]
    assert sparsifier.path().couplings["rows"].entry_step.tolist() != [NEVER]


def test_a_state_of_another_network_is_refused():
    states = []
    for num_units in (2, 3):
        model, units = rows(torch.ones(num_units, 2))
        sparsifier = attached(model, torch.optim.SGD(model.parameters(), lr=0.1), units)
        states.append(sparsifier.state_dict())
    with pytest.raises(TrainError, match=r"rows: the checkpoint has no twin of shape \(3, 2\)"):
        sparsifier.load_state_dict(states[0])
    with pytest.raises(TrainError, match="rows: the checkpoint has no twin"):
        sparsifier.load_state_dict({**states[1], "twins": {}})
    with pytest.raises(TrainError, match="of another method"):
        sparsifier.load_state_dict({})


def test_buffers_and_readers_are_left_alone():
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached(model, optimizer, HIDDEN, nu=1.0)
    before = {name: tensor.detach().clone() for name, tensor in named_tensors(model).items()}
    still(optimizer, 3)
    after = named_tensors(model)
    assert not torch.equal(after["0.weight"], before["0.weight"])
    for name in ("0.bias", "2.weight", "2.bias"):
        assert torch.equal(after[name], before[name])

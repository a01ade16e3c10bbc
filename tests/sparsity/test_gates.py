"""Differentiable sparsification as a method: exact zeros, scores, checkpoints, what it says."""

import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.gates import Gates, GatesSettings
from compressor.train.checkpoint import load_state, save_state

LEVELS = ["unit", "weight"]
EAGER = {
    "unit": {"form": "independent", "strength": 0.1, "rate": 2.0},
    "weight": {"strength": 3e-3},
}


class Setup:
    """A regression in which two of six hidden units are of use, and a method over them."""

    def __init__(self, steps=40, base="sgd", **settings):
        draw = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
        self.inputs = torch.randn(64, 5, generator=draw)
        self.targets = self.inputs[:, :1].tanh() - self.inputs[:, 1:2].tanh()
        units = torch.arange(6).view(6, 1)
        members = (Member("0.weight", 0, units, "filter"), Member("0.bias", 0, units, "bias"))
        reader = Member("2.weight", 1, units, "input")
        self.couplings = Couplings((Coupling("hidden", 6, (*members, reader)),))
        parameters = self.model.parameters()
        self.optimizer = (
            torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
            if base == "sgd"
            else torch.optim.AdamW(parameters, lr=0.01)
        )
        self.method = Gates(GatesSettings(**settings), Horizon(steps, 0.1 * steps, seed=0))
        self.method.attach(self.model, self.optimizer, self.couplings)

    def train(self, steps, parts=1):
        for _ in range(steps):
            self.optimizer.zero_grad()
            for x, y in zip(self.inputs.chunk(parts), self.targets.chunk(parts), strict=True):
                ((self.model(x) - y).square().mean() / parts).backward()
            self.optimizer.step()
        return self

    def state(self):
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state_dict(),
        }


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_gradient_descent_alone_makes_exact_zeros(level, base):
    rate = 2.0 if base == "sgd" else 20.0
    run = Setup(base=base, level=level, **{**EAGER[level], "rate": rate}).train(40)
    structure = run.method.structure()
    assert 0.1 < structure.sparsity < 0.95
    shown = run.model.state_dict()
    if level == "unit":
        dead = ~structure.keep["hidden"]
        assert (shown["0.weight"][dead] == 0).all()
        assert (shown["0.weight"][~dead] != 0).all()
        assert (shown["2.weight"] != 0).all()
    else:
        assert all(torch.equal(kept, shown[name] != 0) for name, kept in structure.keep.items())


def test_plain_l1_and_gradient_descent_make_none():
    model = Setup().model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        (0.05 * sum(p.abs().sum() for p in model.parameters())).backward()
        optimizer.step()
    assert all((p != 0).all() for p in model.parameters())


@pytest.mark.parametrize("level", LEVELS)
def test_the_network_starts_as_it_was(level):
    run = Setup(level=level)
    before = {name: p.clone() for name, p in run.model.state_dict().items()}
    for group in run.optimizer.param_groups:
        group["lr"] = 0.0
    run.train(1)
    for name, value in run.model.state_dict().items():
        assert torch.allclose(value, before[name], atol=1e-6)
    assert run.method.structure().sparsity == 0


@pytest.mark.parametrize("level", LEVELS)
def test_detaching_leaves_base_times_gate_bit_for_bit(level):
    run = Setup(level=level, **EAGER[level]).train(20)
    before, structure = run.model(run.inputs), run.method.structure().widths()
    run.method.detach()
    assert torch.equal(run.model(run.inputs), before)
    assert not run.optimizer._optimizer_step_pre_hooks
    shown = [p.clone() for p in run.model.parameters()]
    run.optimizer.zero_grad()
    run.optimizer.step()  # moves nothing without gradients
    assert all(map(torch.equal, run.model.parameters(), shown))
    assert run.method.structure().widths() == structure


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stop_at", [0, 1, 7])
def test_a_resumed_run_is_the_one_that_never_stopped(level, stop_at, tmp_path, same):
    straight = Setup(level=level, **EAGER[level]).train(15)
    first = Setup(level=level, **EAGER[level]).train(stop_at)
    save_state(tmp_path / "checkpoint", first.state())
    state, again = load_state(tmp_path / "checkpoint"), Setup(level=level, **EAGER[level])
    again.model.load_state_dict(state["model"])
    again.optimizer.load_state_dict(state["optimizer"])
    again.method.load_state_dict(state["method"])
    again.train(15 - stop_at)
    assert same(dict(again.state()["method"]), dict(straight.state()["method"]))
    assert same(dict(again.model.state_dict()), dict(straight.model.state_dict()))


def test_checkpoints_of_another_method_level_or_network_are_refused():
    units, weights = Setup().method, Setup(level="weight").method
    with pytest.raises(TrainError, match="gates at level weight, the run of gates at level unit"):
        units.load_state_dict(weights.state_dict())
    with pytest.raises(TrainError, match="of optg at"):
        units.load_state_dict({**units.state_dict(), "method": "optg"})
    with pytest.raises(TrainError, match="beta"):
        units.load_state_dict({**units.state_dict(), "sets": {}})


def test_scores_follow_the_gates_and_the_dead_rank_below_by_their_shares():
    method = Setup().method
    gates = method._sets[0]
    gates.state["alpha"].copy_(torch.tensor([1.0, 3, 0.2, 2, 0.4, 4]).log())
    gates.state["beta"].fill_(torch.logit(torch.tensor(1.5 / 10.6)))
    score = method.path().couplings["hidden"].score
    assert score.argsort(descending=True).tolist() == [5, 1, 3, 0, 4, 2]
    assert method.structure().keep["hidden"].tolist() == [False, True, False, True, False, True]
    assert (score > 0).all()
    assert float(score[1] / score[5]) == pytest.approx(1.5 / 2.5, rel=1e-5)
    assert float(score[4] / score[2]) == pytest.approx(2, rel=1e-5)


def test_units_rank_by_what_is_kept_of_their_weights():
    run = Setup(level="weight", **EAGER["weight"]).train(30)
    norms = run.model[0].weight.detach().double().norm(dim=1)
    score = run.method.path().couplings["hidden"].score
    assert torch.allclose(score, norms / norms.mean())


@pytest.mark.parametrize("level", LEVELS)
def test_parts_of_a_batch_make_the_step_of_the_whole(level):
    whole, parts = (Setup(level=level, **EAGER[level]).train(10, parts=n) for n in (1, 4))
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_step_that_the_scaler_skips_moves_nothing(level, same):
    run = Setup(level=level, **EAGER[level]).train(3)
    before = json.dumps(str(run.state()))
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(run.model(run.inputs).sum() * torch.inf).backward()
    scaler.step(run.optimizer)
    assert json.dumps(str(run.state())) == before


def test_the_scale_of_the_loss_does_not_reach_the_pull():
    plain, scaled = Setup(**EAGER["unit"]), Setup(**EAGER["unit"])
    plain.train(1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale((scaled.model(scaled.inputs) - scaled.targets).square().mean()).backward()
    scaler.step(scaled.optimizer)
    alphas = [run.method._sets[0].state["alpha"] for run in (plain, scaled)]
    assert torch.allclose(*alphas, atol=1e-6)


def test_it_says_late_that_nothing_has_died_and_how_near_it_is():
    run = Setup(steps=4, strength=0.0, rate=1e-6).train(2)
    assert run.method.notices() == []
    (line,) = run.train(2).method.notices()
    assert "nearest is 2 times its threshold" in line


def test_metrics_say_what_is_alive():
    run = Setup(**EAGER["unit"]).train(40)
    metrics, structure = run.method.metrics(), run.method.structure()
    assert metrics["alive_share"] == pytest.approx(1 - structure.sparsity)
    assert 0 < metrics["gate_min"] <= metrics["gate_max"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_pull_that_is_constant_is_refused():
    with pytest.raises(ValidationError, match="sum of competitive gates is constant"):
        GatesSettings(form="competitive", p=1.0)


def test_a_form_that_weights_do_not_have_is_refused():
    with pytest.raises(ValidationError, match='form is "independent", which only gates on units'):
        GatesSettings(level="weight", form="independent")


def test_gates_of_frozen_parameters_are_refused():
    run = Setup()
    optimizer = torch.optim.SGD(run.model[2].parameters(), lr=0.1)
    with pytest.raises(
        TrainError, match=r"Gates would multiply 0\.weight, which is not in the optimiser"
    ):
        Gates(GatesSettings(), Horizon(1, 1.0, seed=0)).attach(run.model, optimizer, run.couplings)

"""Magnitude on units, weights and two of four, at once and along the cubic schedule."""

import copy
import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import Coupling, Couplings, Member, named_tensors, unit_norms
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import find_candidates, weight_names
from compressor.sparsity.carriers import carriers
from compressor.sparsity.holding import MOMENTUM
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings, Timetable
from compressor.sparsity.masks import two_of_four
from compressor.sparsity.schedules import cubic_density

STEPS = 20
CUBIC = {"schedule": "cubic", "interval": 2, "begin_share": 0.1, "end_share": 0.7}
"""Updates after steps 4, 6, ... 14."""
LEVELS = [{"level": "unit", "density": 0.5}, {"level": "weight", "density": 0.2}, {"level": "2:4"}]


def level_name(settings):
    return settings["level"]


OPTIMISERS = {
    "sgd": lambda model: torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3
    ),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
}


class Run:
    """Magnitude on a toy network, step by step."""

    def __init__(self, model, couplings, optimizer="sgd", **settings):
        self.model, self.couplings = model.train(), couplings
        self.optimizer = OPTIMISERS[optimizer](model)
        horizon = Horizon(num_steps=STEPS, path_time=1.0, seed=0)
        self.sparsifier = Magnitude(MagnitudeSettings(**settings), horizon)
        self.sparsifier.attach(model, self.optimizer, couplings)

    def steps(self, first, last):
        for step in range(first, last):
            draw = torch.Generator().manual_seed(step)
            images = torch.randn(8, 1, 8, 8, generator=draw)
            labels = torch.randint(0, 3, (8,), generator=draw)
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(images), labels).backward()
            self.optimizer.step()
        return self

    def weights(self):
        return {name: value.clone() for name, value in self.model.state_dict().items()}


@pytest.fixture(params=["residual", "plain"])
def net(request, toy_net, toy_couplings):
    return toy_net(request.param), toy_couplings[request.param]


@pytest.fixture
def residual(toy_net, toy_couplings):
    return toy_net("residual"), toy_couplings["residual"]


# --- which are chosen ---


@pytest.mark.parametrize("ranking", ["global", "layer"])
def test_one_shot_keeps_the_largest_weights_of_the_end(net, ranking):
    run = Run(*net, level="weight", density=0.3, ranking=ranking).steps(0, 3)
    names = weight_names(run.model)
    dense = {name: run.model.get_parameter(name).detach().clone() for name in names}
    run.sparsifier.detach()
    structure = run.sparsifier.structure()
    total = sum(value.numel() for value in dense.values())
    expected = {n: round(0.3 * v.numel()) for n, v in dense.items()}
    if ranking == "global":
        assert structure.num_kept == round(0.3 * total)
        sizes = torch.cat([value.abs().flatten() for value in dense.values()])
        kept = torch.cat([structure.keep[name].flatten() for name in names])
        assert sizes[kept].min() >= sizes[~kept].max()
    else:
        assert structure.widths() == expected
    for name in names:
        shown = run.model.get_parameter(name)
        assert torch.equal(shown, dense[name] * structure.keep[name])


def test_one_shot_trains_as_if_it_were_not_there(net, same):
    run = Run(*net, level="weight", density=0.1)
    plain = OPTIMISERS["sgd"]
    before = run.weights()
    attached = run.steps(0, 3).weights()
    run.model.load_state_dict(before)
    run.optimizer = plain(run.model)
    assert same(run.steps(0, 3).weights(), attached)


def test_one_shot_of_units_ranks_by_the_joint_filter_norm(net):
    run = Run(*net).steps(0, 2)
    scores, tensors = run.sparsifier.path().scores(), named_tensors(run.model)
    for coupling in run.couplings.free:
        norms = unit_norms(tensors, coupling.of_kind("filter"))
        assert torch.equal(scores[coupling.name], norms.double())
    assert run.sparsifier.structure().sparsity == 0.0
    before = run.weights()
    run.sparsifier.detach()
    assert all(torch.equal(value, before[name]) for name, value in run.weights().items())


CONVOLUTIONS = {
    "conv1d": nn.Conv1d(8, 4, 3),
    "conv2d": nn.Conv2d(8, 4, 3),
    "grouped": nn.Conv2d(16, 4, 3, groups=2),
    "conv3d": nn.Conv3d(4, 4, 3),
    "linear": nn.Linear(12, 5),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_two_of_four_inputs_stay_in_every_kind_of_layer(kind):
    model = nn.Sequential(CONVOLUTIONS[kind])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = Magnitude(MagnitudeSettings(level="2:4"), Horizon(1, 1.0, seed=0))
    sparsifier.attach(model, optimizer, Couplings(()))
    expected = two_of_four(model[0].weight.detach().abs())
    sparsifier.detach()
    kept = sparsifier.structure().keep["0.weight"]
    assert sparsifier.structure().granularity == "2:4"
    assert torch.equal(kept, expected)
    moved = model[0].weight.detach().movedim(1, -1)
    groups = moved.reshape(-1, 4)
    assert ((groups != 0).sum(dim=1) == 2).all()


@pytest.mark.parametrize("model", [nn.Linear(6, 2), nn.ConvTranspose2d(4, 8, 3)])
def test_a_network_without_groups_of_four_is_refused(model):
    sparsifier = Magnitude(MagnitudeSettings(level="2:4"), Horizon(1, 1.0, seed=0))
    with pytest.raises(TrainError, match=r"No layer has weights for level 2:4"):
        sparsifier.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), Couplings(()))


# --- the cubic schedule ---


def test_the_density_follows_the_closed_form_and_what_left_never_returns(net):
    settings = {"level": "weight", "density": 0.2, **CUBIC}
    run = Run(*net, **settings)
    before, total = run.sparsifier.structure(), run.sparsifier.structure().num_units
    for step in range(STEPS):
        run.steps(step, step + 1)
        now, done = run.sparsifier.structure(), min(step + 1, 14) - 2
        share = max(0, done - done % 2) / 12
        assert now.num_kept == round(cubic_density(share, 0.2) * total)
        for name, kept in now.keep.items():
            assert not (kept & ~before.keep[name]).any()
        before = now
    assert run.sparsifier.metrics() == {"density": pytest.approx(0.2, abs=1e-3)}


@pytest.mark.parametrize("settings", LEVELS, ids=level_name)
@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_what_is_left_out_stays_exactly_zero_with_its_momentum(net, optimizer, settings):
    run = Run(*net, optimizer, **settings, **CUBIC)
    candidates = find_candidates(run.model, run.couplings, settings["level"])
    tensors = named_tensors(run.model)
    for step in range(STEPS):
        run.steps(step, step + 1)
        keep = run.sparsifier.structure().keep
        for some in candidates:
            for values in (tensors, *momenta(run.optimizer, tensors, some.tensors)):
                left = some.dot(values, values)[~keep[some.name]]
                assert (left == 0).all()
    kept = sum(int(keep[some.name].sum()) for some in candidates)
    share = kept / sum(some.shape.numel() for some in candidates)
    assert share == pytest.approx(settings.get("density", 0.5), abs=0.02)


def momenta(optimizer, tensors, names):
    states = {name: optimizer.state[tensors[name]] for name in names}
    keys = {key for state in states.values() for key in state} & set(MOMENTUM)
    assert keys
    return [{name: state[key] for name, state in states.items()} for key in keys]


def test_the_cubic_schedule_ends_in_the_pattern_of_two_of_four(net):
    run = Run(*net, level="2:4", **CUBIC).steps(0, 10)
    assert 0.5 < 1 - run.sparsifier.structure().sparsity < 1
    run.steps(10, STEPS)
    keep = run.sparsifier.structure().keep
    assert set(keep) == set(weight_names(run.model))
    for kept in keep.values():
        assert kept.shape[1] % 4 == 0 or kept.all()
    for kept in (kept for kept in keep.values() if kept.shape[1] % 4 == 0):
        assert (kept.movedim(1, -1).reshape(-1, 4).sum(dim=1) == 2).all()


def test_units_on_the_schedule_give_nothing_and_rank_below_the_kept(residual):
    run = Run(*residual, density=0.4, **CUBIC).steps(0, STEPS)
    structure, scores = run.sparsifier.structure(), run.sparsifier.path().scores()
    assert structure.num_kept == round(0.4 * run.couplings.num_units)
    kept = torch.cat([scores[name][mask] for name, mask in structure.keep.items()])
    left = torch.cat([scores[name][~mask] for name, mask in structure.keep.items()])
    assert kept.min() > left.max()
    assert all(mask.any() for mask in structure.keep.values())
    tensors = named_tensors(run.model)
    for coupling in run.couplings.free:
        norms = unit_norms(tensors, carriers(coupling, run.model))
        assert torch.equal(norms == 0, ~structure.keep[coupling.name])


def test_a_planted_support_is_found():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 20, generator=draw)
    planted = torch.zeros(1, 20, dtype=torch.bool)
    planted[0, [2, 5, 11, 17]] = True
    outputs = inputs @ (planted[0] * 2.0) + 0.1 * torch.randn(200, generator=draw)
    model = nn.Linear(20, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = MagnitudeSettings(level="weight", density=0.2, schedule="cubic")
    sparsifier = Magnitude(settings, Horizon(60, 6.0, seed=0))
    sparsifier.attach(model, optimizer, Couplings(()))
    for _ in range(60):
        optimizer.zero_grad()
        (0.5 * (model(inputs).flatten() - outputs).square().mean()).backward()
        optimizer.step()
    assert torch.equal(sparsifier.structure().keep["weight"], planted)
    assert model.weight.detach()[planted].sub(2).abs().max() < 0.1


def test_unused_hidden_units_leave_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))
    used = torch.zeros(12, dtype=torch.bool)
    used[[1, 4, 9]] = True
    with torch.no_grad():
        model[0].weight[~used] *= 0.1
    couplings = trace(model, torch.randn(2, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    settings = MagnitudeSettings(density=0.25, schedule="cubic", interval=1)
    sparsifier = Magnitude(settings, Horizon(8, 1.0, seed=0))
    sparsifier.attach(model, optimizer, couplings)
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(4, 6)).sum().backward()
        optimizer.step()
    assert torch.equal(sparsifier.structure().keep["0"], used)


@pytest.mark.parametrize("stop", [3, 9])
@pytest.mark.parametrize("settings", LEVELS, ids=level_name)
def test_a_resumed_run_is_the_run_that_never_stopped(residual, toy_net, settings, stop, same):
    model, couplings = residual
    straight = Run(model, couplings, **settings, **CUBIC).steps(0, STEPS)
    first = Run(toy_net("residual"), couplings, **settings, **CUBIC).steps(0, stop)
    again = Run(toy_net("residual"), couplings, **settings, **CUBIC)
    again.model.load_state_dict(first.weights())
    again.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    again.sparsifier.load_state_dict(first.sparsifier.state_dict())
    first.steps(stop, STEPS)  # shares nothing with the one that goes on
    again.steps(stop, STEPS)
    assert same(again.weights(), straight.weights())
    assert same(again.sparsifier.state_dict(), straight.sparsifier.state_dict())
    assert same(again.sparsifier.path().to_json(), straight.sparsifier.path().to_json())


def test_a_checkpoint_of_another_level_or_schedule_is_refused(residual):
    weight = Run(*residual, level="weight", density=0.2, **CUBIC)
    pattern = Run(*residual, level="2:4", **CUBIC)
    once = Run(*residual, level="weight", density=0.2)
    with pytest.raises(TrainError, match=r"magnitude at level 2:4, the run of magnitude at level"):
        weight.sparsifier.load_state_dict(pattern.sparsifier.state_dict())
    with pytest.raises(TrainError, match=r"\.weight: the checkpoint has nothing of shape"):
        weight.sparsifier.load_state_dict(once.sparsifier.state_dict())


@pytest.mark.parametrize("settings", LEVELS, ids=level_name)
def test_detaching_leaves_the_weights_as_they_are_and_no_hook(net, settings, same):
    run = Run(*net, **settings, **CUBIC).steps(0, STEPS)
    weights, structure = run.weights(), run.sparsifier.structure()
    run.sparsifier.detach()
    assert same(run.weights(), weights)
    assert not run.optimizer._optimizer_step_pre_hooks
    assert not run.optimizer._optimizer_step_post_hooks
    run.steps(0, 1)
    assert same(dict(run.sparsifier.structure().keep), dict(structure.keep))


# --- settings and notices ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "weight"}, "needs density"),
        ({"schedule": "cubic"}, "needs density"),
        ({"density": 0.5}, "cut by the budget of strip"),
        ({"level": "2:4", "density": 0.5}, "two of four keep a half"),
        ({"level": "weight", "density": 0.5, "interval": 5}, "interval have no effect"),
        ({"ranking": "layer"}, "ranking have no effect"),
        (
            {"schedule": "cubic", "density": 0.5, "begin_share": 0.8, "end_share": 0.8},
            "begin_share = 0.8 is not below end_share = 0.8",
        ),
    ],
)
def test_settings_without_a_target_or_without_effect_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        MagnitudeSettings(**settings)


@pytest.mark.parametrize("settings", [*LEVELS[1:], {}, {**LEVELS[0], **CUBIC}])
def test_settings_survive_json(settings):
    settings = MagnitudeSettings(**settings)
    assert MagnitudeSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 10, 1000])
def test_every_schedule_ends_at_its_density_within_the_run(num_steps):
    settings = MagnitudeSettings(schedule="cubic", density=0.1, begin_share=0.5)
    table = Timetable.of(settings, num_steps)
    due = [step for step in range(1, max(1, num_steps) + 1) if table.is_due(step)]
    assert due[-1] == table.last
    assert table.density_at(table.last) == pytest.approx(0.1)
    assert len(due) <= 51


def test_a_schedule_of_one_update_and_a_density_below_the_floors_are_noticed(net):
    run = Run(*net, level="weight", density=1e-4, schedule="cubic", interval=15)
    once, below = run.sparsifier.notices()
    assert once.startswith("All goes at once, after step 15")
    assert "sparsity.density 0.0001 asks for" in below
    run.steps(0, STEPS)
    assert run.sparsifier.structure().num_kept == len(weight_names(run.model))
    assert json.dumps(run.sparsifier.metrics())
    assert Run(*net, level="weight", density=0.5, **CUBIC).sparsifier.notices() == []


def test_an_axis_that_is_not_the_first_is_masked_too():
    model = nn.Linear(4, 2, bias=False)
    columns = Member("weight", 1, torch.arange(4).view(2, 2), "filter")
    couplings = Couplings((Coupling("columns", 2, (columns,)),))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0, 2.0, 2.0]] * 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    settings = MagnitudeSettings(schedule="cubic", density=0.5, interval=1)
    sparsifier = Magnitude(settings, Horizon(2, 1.0, seed=0))
    sparsifier.attach(model, optimizer, couplings)
    for _ in range(2):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert model.weight.tolist() == [[0.0, 0.0, 2.0, 2.0]] * 2

"""OptG: scores that learn from the gradients of weights, at each level."""

import functools
import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.optg import OptG, OptGSettings
from compressor.sparsity.optg_masks import (
    largest_jump,
    ranks,
    sparsity_share,
    two_of_four_first,
)
from compressor.sparsity.schedules import late_share
from compressor.train.checkpoint import load_state, save_state

LEVELS = ["unit", "weight", "2:4"]
PER_EPOCH, EPOCHS = 3, 6
HORIZON = Horizon(PER_EPOCH * EPOCHS, 1.0, seed=0, num_epochs=EPOCHS)
SLOPE = late_share(0, EPOCHS, 1.0)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


@functools.cache
def found_couplings():
    return trace(network(), torch.randn(2, 4, 6, 6))


class Run:
    """One network with OptG and its optimiser, on random data that depend on the step alone."""

    def __init__(self, level="unit", make=None, horizon=HORIZON, **settings):
        self.model, self.couplings = network(), found_couplings()
        self.optimizer = (make or sgd)(self.model.parameters())
        self.method = OptG(OptGSettings(level=level, **settings), horizon)
        self.step = 0

    def attach(self):
        self.method.attach(self.model, self.optimizer, self.couplings)
        return self

    def backward(self):
        draw = torch.Generator().manual_seed(self.step)
        inputs = torch.randn(8, 4, 6, 6, generator=draw)
        targets = torch.randint(0, 3, (8,), generator=draw)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(inputs), targets).backward()

    def go(self, num_steps):
        for _ in range(num_steps):
            self.backward()
            self.optimizer.step()
            self.step += 1
        return self

    @property
    def state(self):
        return self.method.state_dict()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01)


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


def shown(run):
    return {name: value.detach().clone() for name, value in named_tensors(run.model).items()}


# The maths.


@pytest.mark.parametrize(("level", "steps"), [("unit", 20), ("weight", 20)])
@pytest.mark.parametrize("make", [sgd, adamw])
def test_density_one_is_ordinary_training_bit_for_bit(level, steps, make, same):
    run, plain = Run(level, make, density=1.0).attach().go(steps), Run(level, make).go(steps)
    run.method.detach()
    assert same(shown(run), shown(plain))
    assert run.method.structure().sparsity == 0.0


def test_after_one_step_a_score_is_minus_rate_times_weight_times_gradient():
    run = Run("weight").attach()
    run.backward()
    expected = {
        name: -0.05
        * SLOPE
        * run.model.get_parameter(name).detach()
        * run.model.get_parameter(name).grad
        for name in ("0.weight", "3.weight", "6.weight")
    }
    run.optimizer.step()
    assert run.state["scores"].keys() == expected.keys()
    for name, value in run.state["scores"].items():
        assert torch.allclose(value, expected[name], rtol=1e-5, atol=0), name


def test_the_score_of_a_unit_sums_over_all_that_carries_it():
    run = Run("unit").attach()
    run.backward()
    products = {name: p.detach() * p.grad for name, p in run.model.named_parameters()}
    run.optimizer.step()
    expected = {
        "0": products["1.weight"] + products["1.bias"],
        "3": products["3.weight"].flatten(1).sum(1) + products["3.bias"],
    }
    for name, value in expected.items():
        assert torch.allclose(run.state["scores"][name], -0.05 * SLOPE * value, rtol=1e-4), name


def test_scores_have_the_momentum_that_is_set_and_no_decay():
    run = Run("weight", score_momentum=0.5).attach()
    slopes = []
    for _ in range(2):
        run.backward()
        slopes.append(run.model[6].weight.grad * run.model[6].weight.detach())
        run.optimizer.step()
    expected = -0.05 * SLOPE * (slopes[0] + (0.5 * slopes[0] + slopes[1]))
    assert torch.allclose(run.state["scores"]["6.weight"], expected, rtol=1e-4, atol=1e-9)


def masked(level, seed=0, **settings):
    """A run whose masks leave half out, from scores drawn at random, in the last epoch."""
    run = Run(level, **settings).attach()
    state, draw = run.state, torch.Generator().manual_seed(seed)
    for name, score in state["scores"].items():
        state["scores"][name] = torch.randn(score.shape, generator=draw)
    run.method.load_state_dict(state | {"step": PER_EPOCH * 5 - 1, "epoch": 4})
    return run.go(1)


def test_the_gradient_of_what_is_left_out_is_zero_for_the_optimiser(level):
    run = masked(level)
    seen = {}

    def look(optimizer, args, kwargs):
        seen.update({name: p.grad.clone() for name, p in run.model.named_parameters()})

    run.optimizer.register_step_pre_hook(look)  # after the method's own
    run.go(1)
    masks, carried = run.state["masks"], 0
    for name, mask in masks.items():
        gradients = [seen["1.weight"], seen["1.bias"]] if name == "0" else None
        gradients = gradients or (
            [seen["3.weight"], seen["3.bias"]] if name == "3" else [seen[name]]
        )
        for gradient in gradients:
            assert not gradient[~mask].any()
            carried += int(gradient[mask].count_nonzero())
    assert carried > 0


def test_what_is_left_out_goes_on_being_scored(level):
    """Also units behind a ReLU, which passes no gradient at exactly zero."""
    run = masked(level)
    before = {name: value.clone() for name, value in run.state["scores"].items()}
    run.go(1)
    moved = [
        run.state["scores"][name][~mask] != before[name][~mask]
        for name, mask in run.state["masks"].items()
    ]
    assert torch.cat(moved).float().mean() > 0.6


def test_true_weights_of_what_is_left_out_decay_on(level):
    run = masked(level)
    name = {"unit": "1.weight"}.get(level, "3.weight")
    mask = run.state["masks"]["0" if level == "unit" else name]
    before = run.state["true"][name].clone()
    buffer = run.optimizer.state[run.model.get_parameter(name)]["momentum_buffer"].clone()
    run.go(1)
    expected = before - 0.05 * (0.9 * buffer + 1e-3 * before)
    assert torch.allclose(run.state["true"][name][~mask], expected[~mask], rtol=1e-5)
    assert run.state["true"][name][~mask].any()


def test_a_unit_that_was_left_out_comes_back_with_its_weights():
    run = masked("unit")
    (left, *_) = (~run.state["masks"]["0"]).nonzero().flatten().tolist()
    assert abs(run.model[1].weight[left]) < 1e-8
    state = run.state
    state["scores"]["0"][left] = 1e6
    run.method.load_state_dict(state | {"step": PER_EPOCH * 5 - 1, "epoch": 4})
    run.go(1)
    assert run.state["masks"]["0"][left]
    assert run.model[1].weight[left] == run.state["true"]["1.weight"][left]
    assert abs(run.model[1].weight[left]) > 0.5


# When, and how much.


def test_masks_change_only_as_an_epoch_begins():
    run = Run("weight", density=0.2).attach()
    densities = [run.go(1).method.metrics()["density"] for _ in range(HORIZON.num_steps)]
    starts = [densities[epoch * PER_EPOCH - 1] for epoch in range(1, EPOCHS)]
    assert densities[: PER_EPOCH - 1] == [1.0] * (PER_EPOCH - 1)
    for epoch, density in enumerate(starts, start=1):
        assert (
            densities[epoch * PER_EPOCH - 1 : (epoch + 1) * PER_EPOCH - 1] == [density] * PER_EPOCH
        )
        expected = 1 - 0.8 * sparsity_share(epoch, EPOCHS, 1.0)
        assert density == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("ranking", ["global", "layer"])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 5), (2, 6), (6, 18), (3, 10), (7, 3)])
def test_the_asked_density_is_reached_exactly_however_short_the_run(epochs, steps, ranking):
    horizon = Horizon(steps, 1.0, seed=0, num_epochs=epochs)
    run = Run("weight", horizon=horizon, density=0.3, ranking=ranking).attach().go(steps)
    structure = run.method.structure()
    if ranking == "global":
        assert structure.num_kept == round(0.3 * structure.num_units)
    else:
        assert structure.widths() == {n: round(0.3 * k.numel()) for n, k in structure.keep.items()}
    run.method.detach()
    for name, kept in structure.keep.items():
        assert not run.model.get_parameter(name)[~kept].any()


def test_two_of_four_stay_at_the_end_and_more_before():
    run = Run("2:4").attach().go(PER_EPOCH * 3)
    assert 0.5 < run.method.metrics()["density"] < 1
    run.go(PER_EPOCH * 3)
    keep = run.method.structure().keep
    for name in ("0.weight", "3.weight", "6.weight"):
        groups = keep[name].movedim(1, -1).reshape(-1, 4)
        assert (groups.sum(1) == 2).all(), name
    assert run.method.structure().granularity == "2:4"


def test_weights_without_groups_of_four_stay_whole():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    method = OptG(OptGSettings(level="2:4"), Horizon(1, 1.0, seed=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method.attach(model, optimizer, Couplings(()))
    model(torch.ones(1, 6)).sum().backward()
    optimizer.step()
    keep = method.structure().keep
    assert keep["0.weight"].all()
    assert keep["1.weight"].sum(1).tolist() == [2, 2]
    assert method.metrics()["density"] == 0.5
    method.detach()


@pytest.mark.parametrize(("density", "floor_share", "fewest"), [(0.01, 0.0, 1), (0.3, 0.25, 2)])
def test_no_coupling_falls_below_its_floor(density, floor_share, fewest):
    run = Run("unit", density=density, floor_share=floor_share).attach()
    state = run.state
    state["scores"]["0"] += 100.0
    run.method.load_state_dict(state)
    run.go(HORIZON.num_steps)
    assert run.method.structure().widths()["3"] == fewest


def test_the_sparsity_rises_from_nothing_to_all_of_it():
    shares = [sparsity_share(epoch, 10, 1.0) for epoch in range(12)]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[5] == 0.5
    assert shares[9:] == [1.0, 1.0, 1.0]
    assert largest_jump(10, 1.0) == pytest.approx(shares[6] - shares[5])
    assert largest_jump(1, 1.0) == 1.0


def test_ranks_put_scores_before_sizes_and_sizes_before_places():
    scores = [torch.tensor([0.0, 2.0, 0.0]), torch.tensor([[0.0, -1.0]])]
    sizes = [torch.tensor([1.0, 0.0, 5.0]), torch.tensor([[1.0, 9.0]])]
    places = ranks(scores, sizes)
    assert [(place * 5).tolist() for place in places] == [[3, 5, 4], [[2, 1]]]
    assert ranks([], []) == []


def test_of_weights_that_no_gradient_has_reached_the_larger_stay():
    sizes = [torch.tensor([3.0, 1.0, 4.0, 2.0])]
    assert two_of_four_first(torch.zeros(1, 4), sizes[0].view(1, 4)).isinf().tolist() == [
        [1, 0, 1, 0]
    ]


# Planted supports.


def test_the_weights_that_matter_are_found():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 20, generator=draw)
    planted = torch.zeros(20, dtype=torch.bool)
    planted[[2, 5, 11, 17]] = True
    outputs = inputs @ (planted * 2.0) + 0.1 * torch.randn(200, generator=draw)
    torch.manual_seed(0)
    model = nn.Linear(20, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    method = OptG(OptGSettings(level="weight", density=0.2), Horizon(100, 1.0, 0, num_epochs=10))
    method.attach(model, optimizer, Couplings(()))
    for _ in range(100):
        optimizer.zero_grad()
        batch = torch.randint(0, 200, (20,), generator=draw)
        (model(inputs[batch]).flatten() - outputs[batch]).square().mean().backward()
        optimizer.step()
    assert torch.equal(method.structure().keep["weight"].flatten(), planted)
    method.detach()


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.BatchNorm1d(12)], ids=["plain", "norm"])
def test_the_hidden_units_that_a_teacher_uses_are_found(norm):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), norm(), nn.ReLU(), nn.Linear(12, 1))
    used = torch.zeros(12, dtype=torch.bool)
    used[[1, 4, 9]] = True
    with torch.no_grad():
        model[3].weight.copy_(torch.where(used, 1.0, 0.02))
    inputs = torch.randn(128, 6)
    outputs = 3 * model(inputs).detach()
    couplings = trace(model, inputs[:2])
    model.train()
    optimizer = torch.optim.SGD(model[:3].parameters(), lr=0.001, momentum=0.9)
    method = OptG(OptGSettings(density=0.25), Horizon(30, 1.0, 0, num_epochs=6))
    method.attach(model, optimizer, couplings)
    for _ in range(30):
        optimizer.zero_grad()
        (model(inputs) - outputs).square().mean().backward()
        optimizer.step()
    assert torch.equal(method.structure().keep["0"], used)
    scores = method.path().couplings["0"].score
    assert scores[used].min() > 1 >= scores[~used].max()
    method.detach()


# What others see.


def test_scores_are_neither_parameters_nor_buffers_and_detaching_leaves_no_trace(level):
    run = Run(level)
    keys, parameters = list(run.model.state_dict()), list(run.model.parameters())
    run.attach().go(2)
    assert list(run.model.state_dict()) == keys
    assert len(run.optimizer.state_dict()["param_groups"][0]["params"]) == len(parameters)
    run.method.detach()
    assert not run.optimizer._optimizer_step_pre_hooks
    before = shown(run)
    run.method.detach()  # a second time it touches nothing
    assert all(torch.equal(before[name], value) for name, value in shown(run).items())


def test_after_detaching_units_that_are_left_out_are_exactly_zero():
    run = masked("unit")
    run.method.detach()
    mask = run.method.structure().keep["0"]
    for parameter in (run.model[1].weight, run.model[1].bias):
        assert not parameter[~mask].any()
        assert torch.equal(
            parameter[mask],
            run.state["true"]["1.weight" if parameter is run.model[1].weight else "1.bias"][mask],
        )


@pytest.mark.parametrize("ranking", ["global", "layer"])
def test_the_path_has_kept_units_first_each_in_the_order_of_its_score(ranking):
    run = masked("unit", ranking=ranking)
    path, state = run.method.path(), run.state
    scores = torch.cat(list(path.scores().values()))
    kept = torch.cat([state["masks"][name] for name in path.couplings])
    assert scores[kept].min() > 1 >= scores[~kept].max()
    for name, units in path.couplings.items():
        by_score = state["scores"][name].argsort(descending=True)
        assert torch.equal(units.score.argsort(descending=True), by_score)


def test_where_weights_are_chosen_units_rank_by_what_stays_of_them():
    run = masked("weight")
    kept = run.method.structure().keep["0.weight"]
    norms = (run.model[0].weight.detach() * kept).flatten(1).norm(dim=1).double()
    assert torch.allclose(run.method.path().couplings["0"].score, norms / norms.mean(), rtol=1e-5)


def test_metrics_say_how_far_the_run_is_and_can_be_logged(level):
    run = masked(level)
    metrics = run.method.metrics()
    assert metrics["density"] == pytest.approx(0.5, abs=0.01)
    assert metrics["late_share"] == late_share(5, EPOCHS, 1.0)
    assert metrics["score_kept"] > 0 < metrics["score_left_out"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert run.method.notices() == []


def test_a_run_of_few_epochs_is_told_that_a_mask_takes_much_at_once():
    run = Run("unit", horizon=Horizon(6, 1.0, seed=0, num_epochs=2)).attach()
    (notice,) = run.method.notices()
    assert "In 2 epochs with steepness 1 one mask leaves out 100%" in notice


def test_floors_above_the_density_are_told_with_what_is_kept():
    run = Run("unit", density=0.05).attach().go(HORIZON.num_steps)
    (notice,) = run.method.notices()
    assert notice.startswith("14.29% is kept where 5.00% is asked")


def test_a_network_without_units_is_told_so_and_one_without_weights_refused():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainError, match=r"No layer has weights for level 2:4"):
        OptG(OptGSettings(level="2:4"), HORIZON).attach(model, optimizer, Couplings(()))
    method = OptG(OptGSettings(), HORIZON)
    method.attach(model, optimizer, Couplings(()))
    assert method.notices() == ["Nothing can be left out at level unit: no mask is trained."]
    assert method.path().couplings == {}
    assert method.metrics()["density"] == 1.0
    method.detach()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"level": "2:4", "density": 0.3}, "density is 0.3, and at level 2:4 a half stays"),
        ({"density": 0.1, "floor_share": 0.2}, "floor_share is 0.2, above the density of 0.1"),
        ({"floor_share": 0.2, "ranking": "layer"}, 'floor_share is 0.2, and with ranking "layer"'),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        OptGSettings(**settings)


def test_a_masked_parameter_that_the_optimiser_does_not_move_is_refused_by_name():
    run = Run("weight", lambda parameters: torch.optim.SGD(list(parameters)[:1], lr=0.1))
    with pytest.raises(
        TrainError, match=r"OptG would mask 3\.weight, which is not in the optimiser"
    ):
        run.attach()
    assert not run.optimizer._optimizer_step_pre_hooks


# Stopping and going on.


@pytest.mark.parametrize("make", [sgd, adamw])
@pytest.mark.parametrize("stop", [1, 3, 8, 17])
def test_a_resumed_run_is_the_one_that_never_stopped(level, make, stop, tmp_path, same):
    straight = Run(level, make).attach().go(HORIZON.num_steps)
    first = Run(level, make).attach().go(stop)
    save_state(
        tmp_path / "checkpoint",
        {
            "model": first.model.state_dict(),
            "optimizer": first.optimizer.state_dict(),
            "method": first.state,
        },
    )
    state, again = load_state(tmp_path / "checkpoint"), Run(level, make).attach()
    again.model.load_state_dict(state["model"])
    again.optimizer.load_state_dict(state["optimizer"])
    again.method.load_state_dict(state["method"])
    again.step = stop
    again.go(HORIZON.num_steps - stop)
    assert same(again.state, straight.state)
    assert same(shown(again), shown(straight))


def test_a_step_that_the_scaler_skips_changes_nothing(level, same):
    run, scaler = masked(level), torch.amp.GradScaler("cpu")
    before = {**shown(run), **{f"s.{n}": s.clone() for n, s in run.state["scores"].items()}}
    run.optimizer.zero_grad()
    scaler.scale(run.model(torch.randn(8, 4, 6, 6)).sum() * torch.inf).backward()
    scaler.step(run.optimizer)
    after = {**shown(run), **{f"s.{n}": s for n, s in run.state["scores"].items()}}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    names = [name for name in before if not name.endswith(statistics)]
    assert same({n: before[n] for n in names}, {n: after[n] for n in names})


def test_what_the_network_sees_follows_from_the_state_alone(level, same):
    run, fresh = masked(level), Run(level).attach()
    fresh.method.load_state_dict(run.state)
    names = list(run.state["true"])
    assert names
    assert all(same(shown(fresh)[name], shown(run)[name]) for name in names)
    run.go(1)
    assert not same(fresh.state["true"], run.state["true"])  # nothing is shared


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "rigl"}, "of rigl at level unit, the run of optg"),
        ({"level": "weight"}, "of optg at level weight, the run of optg at level unit"),
        ({"scores": {}}, "0: the checkpoint has nothing of shape"),
        ({"true": {}}, "the checkpoint has no true value"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(change, said):
    run = Run("unit").attach()
    with pytest.raises(TrainError, match=said):
        run.method.load_state_dict(run.state | change)

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import Couplings, mask_
from compressor.couplings.index_flow import index_flow
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.itop import ITOP, ITOPSettings
from compressor.strip.certificate import certify
from compressor.train.checkpoint import load_state, save_state
from compressor.train.loop import Surroundings, train

from .formulas import expected_explored

LEVELS = ["unit", "weight"]
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}


class Run:
    """A tiny network with norms in training, one step at a time."""

    def __init__(self, settings=None, num_steps=12, optimizer="sgd", net=None, seed=3, find=trace):
        torch.manual_seed(0)
        self.model = net() if net else convolutions()
        images = torch.randn(24, 2, 6, 6, generator=torch.Generator().manual_seed(1))
        couplings = find(self.model, images[:2])
        self.model.train()
        self.images, self.couplings = images, couplings
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        settings = settings or ITOPSettings()
        self.itop = ITOP(settings, Horizon(num_steps, 1.0, seed))
        self.itop.attach(self.model, self.optimizer, couplings)
        self.tensors = dict(self.model.named_parameters())

    def backward(self, step):
        self.optimizer.zero_grad()
        some = self.images.roll(step, 0)[:16]
        targets = (some.mean((1, 2, 3)) > 0).long() + (some[:, 0, 0, 0] > 0)
        nn.functional.cross_entropy(self.model(some), targets).backward()

    def steps(self, first, last):
        for step in range(first, last):
            self.backward(step)
            self.optimizer.step()
        return self

    def masks(self):
        return self.itop.structure().keep

    def memories(self, name):
        state = self.optimizer.state[self.tensors[name]]
        return [state[key] for key in ("momentum_buffer", "exp_avg") if key in state]

    def state(self):
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "itop": self.itop.state_dict(),
        }


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def mixed():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)
    )


def every_kind():
    """One of each layer with weights: transposed, depthwise, three- and one-dimensional."""
    return nn.Sequential(
        nn.ConvTranspose2d(2, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Unflatten(1, (2, 2)),
        nn.Conv3d(2, 3, (2, 3, 3)),
        nn.Flatten(2),
        nn.Conv1d(3, 4, 3),
        nn.Flatten(),
        nn.Linear(56, 3),
    )


def every_step(**settings):
    return ITOPSettings(**{"interval": 1, "stop_share": 1.0, **settings})


def weights(**settings):
    return every_step(level="weight", **{"density": 0.3, "distribution": "uniform", **settings})


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize("level", LEVELS)
def test_every_layer_keeps_its_number_and_exchanges_the_published_share(level, grow):
    run = Run(every_step(level=level, grow=grow))
    before = run.masks()
    for step in range(11):
        run.steps(step, step + 1)
        share = run.itop.schedule.share(step + 1)
        for name, mask in run.masks().items():
            kept, others = int(before[name].sum()), int((~before[name]).sum())
            num = min(-int(-share * kept // 1), others, kept - 1)
            assert int(mask.sum()) == kept
            assert int((mask & ~before[name]).sum()) == num
        before = run.masks()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_that_are_left_out_are_zero_with_their_momentum(optimizer):
    run = Run(weights(interval=3), optimizer=optimizer)
    for step in range(9):
        run.steps(step, step + 1)
        for name, mask in run.masks().items():
            values = [run.tensors[name], *run.memories(name)]
            assert len(values) == 2
            assert all(bool((value[~mask] == 0).all()) for value in values)
            assert bool((run.tensors[name][mask] != 0).any())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_new_weights_start_at_zero_with_zero_momentum_and_then_move(grow, optimizer):
    run = Run(weights(interval=4, grow=grow), optimizer=optimizer).steps(0, 3)
    before = run.masks()
    run.steps(3, 4)
    new = {name: mask & ~before[name] for name, mask in run.masks().items()}
    assert sum(int(some.sum()) for some in new.values()) > 100
    for name, some in new.items():
        assert all(
            bool((value[some] == 0).all()) for value in [run.tensors[name], *run.memories(name)]
        )
    run.steps(4, 5)
    moved = [float((run.tensors[name][some] != 0).float().mean()) for name, some in new.items()]
    assert min(moved) > 0.3  # of what grows at random much leads to nothing yet


def test_growth_takes_the_largest_gradients_of_those_left_out():
    run = Run(weights(interval=2)).steps(0, 1)
    run.backward(1)
    before, gradients = run.masks(), {n: p.grad.abs().clone() for n, p in run.tensors.items()}
    run.optimizer.step()
    for name, mask in run.masks().items():
        new = mask & ~before[name]
        rest = ~mask & ~before[name]
        assert bool(new.any())
        assert float(gradients[name][new].min()) >= float(gradients[name][rest].max())


def test_the_smallest_weights_are_dropped():
    run = Run(weights(interval=2)).steps(0, 1)
    before = run.masks()
    # The same step without an update gives the weights that were compared.
    other = Run(weights(interval=100), num_steps=101).steps(0, 2)
    run.steps(1, 2)
    for name, mask in run.masks().items():
        size = other.tensors[name].detach().abs()
        dropped, stayed = before[name] & ~mask, before[name] & mask
        assert bool(dropped.any())
        assert float(size[dropped].max()) <= float(size[stayed].min())


def test_growth_averages_over_the_last_gradients():
    run = Run(weights(interval=4, gradient_batches=3))
    sums, before = dict.fromkeys(run.masks(), 0.0), run.masks()
    for step in range(4):
        run.backward(step)
        if step >= 1:
            sums = {name: total + run.tensors[name].grad for name, total in sums.items()}
        run.optimizer.step()
    for name, mask in run.masks().items():
        new, rest = mask & ~before[name], ~mask & ~before[name]
        assert float(sums[name].abs()[new].min()) >= float(sums[name].abs()[rest].max())


def test_masks_stay_after_the_stop():
    run = Run(weights(stop_share=0.5)).steps(0, 6)
    at_stop = run.masks()
    run.steps(6, 12)
    assert all(torch.equal(mask, at_stop[name]) for name, mask in run.masks().items())
    assert run.itop.metrics()["updates"] == 6
    assert run.itop.metrics()["drop_share"] == pytest.approx(0.005)


def test_the_explored_share_starts_at_the_density_and_never_falls():
    run = Run(weights(grow="random", density=0.2))
    rates = [run.itop.metrics()["over_parameterisation"]]
    for step in range(11):
        run.steps(step, step + 1)
        rates.append(run.itop.metrics()["over_parameterisation"])
    density = run.itop.metrics()["density"]
    assert rates[0] == pytest.approx(density) == pytest.approx(0.2, rel=1e-3)
    assert rates == sorted(rates)
    shares = run.itop.schedule.shares()
    assert density < rates[-1] <= expected_explored(density, shares) + 0.05 <= 1.0


def test_static_masks_explore_what_they_keep():
    run = Run(weights(stop_share=0.0)).steps(0, 12)
    kept = {name: float(mask.float().mean()) for name, mask in run.masks().items()}
    assert run.itop.over_parameterisation() == pytest.approx(kept)


def test_layers_that_the_distribution_makes_dense_count_as_explored():
    run = Run(weights(density=0.6, distribution="erk"))
    assert bool(run.masks()["8.weight"].all())
    assert run.itop.over_parameterisation()["8.weight"] == 1.0
    run.steps(0, 8)
    assert bool(run.masks()["8.weight"].all())


def test_uniform_gives_every_layer_the_same_share():
    run = Run(weights(density=0.25))
    shares = [float(mask.float().mean()) for mask in run.masks().values()]
    assert shares == pytest.approx([0.25] * 3, abs=0.02)


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_every_kind_of_layer_is_masked(grow):
    run = Run(weights(grow=grow), net=every_kind)
    start = run.masks()
    run.steps(0, 11)
    assert len(start) == 5
    for name, mask in run.masks().items():
        assert int(mask.sum()) == int(start[name].sum())
        assert not torch.equal(mask, start[name])
        assert bool((run.tensors[name][~mask] == 0).all())


@pytest.mark.parametrize("net", [convolutions, mixed])
def test_units_that_are_left_out_add_exactly_nothing_to_the_network(net):
    run = Run(every_step(interval=3), net=net, find=index_flow).steps(0, 11)
    run.model.eval()
    shown = run.model(run.images)
    mask_(run.model, run.couplings, run.itop.structure())
    assert torch.equal(run.model(run.images), shown)
    assert run.itop.structure().sparsity == 0.5


def test_units_that_are_left_out_give_zero_once_training_is_over():
    run = Run(every_step(interval=3)).steps(0, 11)
    kept = run.masks()["0"]
    run.itop.detach()
    given = run.model.eval()[:3](run.images)
    assert bool((given[:, ~kept] == 0).all())
    assert bool((given[:, kept] != 0).flatten(2).any(2).any(0).all())


def test_growth_of_units_changes_nothing_and_the_grown_train_at_once():
    run = Run(every_step(interval=4, first_drop_share=0.9)).steps(0, 3)
    before = run.masks()["0"]
    run.steps(3, 4)
    new = run.masks()["0"] & ~before
    readers = run.tensors["3.weight"]
    assert bool(new.any())
    assert bool((readers[:, new] == 0).all())
    run.steps(4, 5)
    assert bool((readers[:, new] != 0).flatten(2).any(2).any(0).all())


def test_units_grow_by_the_gradient_of_what_reads_them():
    run = Run(every_step(interval=2)).steps(0, 1)
    run.backward(1)
    before = run.masks()["3"]
    promise = run.tensors["8.weight"].grad.square().sum(0)
    run.optimizer.step()
    new, rest = run.masks()["3"] & ~before, ~run.masks()["3"] & ~before
    assert bool((promise[~before] > 0).all())
    assert float(promise[new].min()) >= float(promise[rest].max())


def test_kept_units_rank_above_all_that_are_left_out():
    run = Run(every_step(interval=3)).steps(0, 11)
    scores, masks = run.itop.path().scores(), run.masks()
    lowest_kept = min(float(scores[name][mask].min()) for name, mask in masks.items())
    highest_out = max(float(scores[name][~mask].max()) for name, mask in masks.items())
    assert lowest_kept > highest_out
    means = [float(scores[name][mask].mean()) for name, mask in masks.items()]
    assert means == pytest.approx([2.0] * len(means))


def test_at_weight_level_units_rank_by_what_is_kept_of_them():
    run = Run(weights()).steps(0, 6)
    kept = run.tensors["3.weight"].detach().flatten(1).norm(dim=1).double()
    assert torch.allclose(run.itop.path().scores()["3"], kept / kept.mean())


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_resumed_run_is_the_run_that_never_stopped(level, optimizer, grow, tmp_path, same):
    batches = {"gradient": 2, "random": 1}[grow]
    settings = every_step(level=level, grow=grow, interval=3, gradient_batches=batches)
    straight = Run(settings, optimizer=optimizer).steps(0, 11).state()
    for stop in (2, 3, 5):
        save_state(tmp_path / str(stop), Run(settings, optimizer=optimizer).steps(0, stop).state())
        saved, again = load_state(tmp_path / str(stop)), Run(settings, optimizer=optimizer)
        again.model.load_state_dict(saved["model"])
        again.optimizer.load_state_dict(saved["optimizer"])
        again.itop.load_state_dict(saved["itop"])
        assert same(again.steps(stop, 11).state(), straight)


def test_a_checkpoint_of_another_method_level_or_network_is_refused_by_name():
    run = Run(weights())
    with pytest.raises(TrainError, match="checkpoint is of optg at level weight, the run of itop"):
        run.itop.load_state_dict({"method": "optg", "level": "weight"})
    with pytest.raises(TrainError, match="itop at level unit, the run of itop at level weight"):
        run.itop.load_state_dict(Run(every_step()).itop.state_dict())
    with pytest.raises(TrainError, match=r"0\.weight: the checkpoint has nothing of shape"):
        run.itop.load_state_dict(Run(weights(), net=every_kind).itop.state_dict())


@pytest.mark.parametrize("level", LEVELS)
def test_masks_are_those_of_the_seed(level, same):
    runs = [Run(every_step(level=level, grow="random"), seed=s).steps(0, 5) for s in (1, 1, 2)]
    assert same(dict(runs[0].masks()), dict(runs[1].masks()))
    assert not same(dict(runs[0].masks()), dict(runs[2].masks()))


@pytest.mark.parametrize("level", LEVELS)
def test_detaching_leaves_a_plain_sparse_network(level):
    run = Run(every_step(level=level)).steps(0, 5)
    keys, masks = list(run.model.state_dict()), run.masks()
    run.itop.detach()
    assert not run.optimizer._optimizer_step_pre_hooks
    assert not run.optimizer._optimizer_step_post_hooks
    assert list(run.model.state_dict()) == keys
    run.steps(5, 8)
    assert all(torch.equal(mask, masks[name]) for name, mask in run.masks().items())


def test_a_residual_network_ends_with_a_structure_that_strips(toy_job, toy_task):
    job = toy_job()
    itop = ITOP(every_step(interval=3), Horizon(10, 1.0, seed=3, num_epochs=2))
    history = train(replace(job, sparsifier=itop), Surroundings(device="cpu"))
    structure = itop.structure()
    certificate = certify(job.model.eval(), job.couplings, structure, [toy_task.example(12)])
    certificate.check()
    assert structure.sparsity == pytest.approx(0.5, abs=0.05)
    assert history[-1]["updates"] == 3.0
    assert history[-1]["over_parameterisation"] > 0.6


def test_units_that_a_norm_mixes_grow_at_random_from_the_values_they_were_born_with():
    run = Run(every_step(interval=2), net=mixed, find=index_flow).steps(0, 1)
    before = run.masks()["1"]
    assert "1 of 1 couplings, 1 first, grow at random" in run.itop.notices()[0]
    run.steps(1, 2)
    new = run.masks()["1"] & ~before
    assert int(new.sum()) == 2
    assert bool((run.tensors["2.weight"][new] == 1).all())  # scales of a fresh norm
    assert bool((run.tensors["1.weight"][new] != 0).all())
    assert bool((run.tensors["2.weight"][~run.masks()["1"]] == 0).all())


def test_nothing_to_remove_is_nothing_to_do():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    itop = ITOP(ITOPSettings(), Horizon(1, 1.0, seed=0))
    itop.attach(model, optimizer, Couplings(()))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert itop.path().couplings == {}
    assert itop.metrics()["over_parameterisation"] == 1.0


def test_a_schedule_without_updates_is_noticed_with_its_figures():
    notice = Run(weights(interval=20)).itop.notices()[0]
    assert "first update would follow step 20, and updates end at step 12 of 12" in notice


def test_a_schedule_that_tries_little_is_noticed_with_the_bound_in_the_first_epoch_only():
    run = Run(weights(interval=6, density=0.1, first_drop_share=0.1, grow="random"))
    bound = run.itop.notices()[0]
    assert bound.startswith("1 updates can try 10.")
    run.steps(0, 13)
    assert run.itop.notices() == []


def test_under_adamw_a_grown_weight_moves_no_farther_than_one_that_was_always_kept():
    torch.manual_seed(0)
    model = nn.Linear(40, 40, bias=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    settings = ITOPSettings(level="weight", grow="random", interval=500, stop_share=1.0)
    itop = ITOP(settings, Horizon(1000, 1.0, seed=0))
    itop.attach(model, optimizer, Couplings(()))
    first = itop.structure().keep["weight"]
    draw = torch.Generator().manual_seed(0)
    for _ in range(501):
        before = model.weight.detach().clone()
        model.weight.grad = torch.randn(40, 40, generator=draw)
        optimizer.step()
    moved, now = (model.weight.detach() - before).abs(), itop.structure().keep["weight"]
    assert (now & ~first).any()
    assert moved[now & ~first].mean() < moved[now & first].mean()
    itop.detach()


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match='distribution is "erk".*level is "unit"'):
        ITOPSettings(distribution="erk")
    with pytest.raises(ValidationError, match='gradient_batches is 2, and grow is "random"'):
        ITOPSettings(grow="random", gradient_batches=2)
    with pytest.raises(ValidationError, match="density is 1, and nothing could be exchanged"):
        ITOPSettings(density=1.0)
    with pytest.raises(ValidationError, match="last_drop_share is 0.6, above first_drop_share"):
        ITOPSettings(last_drop_share=0.6)
    with pytest.raises(TrainError, match="gradient_batches is 5, and updates .* after 4 steps"):
        ITOP(ITOPSettings(interval=4, gradient_batches=5), Horizon(10, 1.0, seed=0))


def test_a_density_that_leaves_a_layer_nothing_is_refused():
    with pytest.raises(TrainError, match="layers need one each"):
        Run(weights(density=0.001))

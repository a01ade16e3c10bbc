"""The battery that every method of METHODS has to pass, at each of its levels."""

import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    Member,
    check_fit,
    named_tensors,
)
from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import weight_names
from compressor.sparsity.catalog import METHODS
from compressor.strip.certificate import certify
from compressor.structure import Path, Structure
from compressor.train.checkpoint import load_state
from compressor.train.loop import Surroundings, train

from .methods import CASES, STEPPING, WITHOUT_NORMS, case_id, eager

ON_CPU = Surroundings(device="cpu")


@pytest.fixture(params=CASES, ids=case_id)
def case(request):
    return request.param


@pytest.fixture(params=[case for case in CASES if case[1] != "unit"], ids=case_id)
def weight_case(request):
    return request.param


@pytest.fixture(params=STEPPING, ids=case_id)
def stepping_case(request):
    return request.param


@pytest.fixture(params=WITHOUT_NORMS, ids=case_id)
def case_without_norms(request):
    return request.param


def finished(job, surroundings=ON_CPU):
    """What a job leaves behind, as one state."""
    history = train(job, surroundings)
    return {
        "weights": dict(job.model.state_dict()),
        "structure": dict(job.sparsifier.structure().keep),
        "path": job.sparsifier.path().to_json(),
        "state": job.sparsifier.state_dict(),
        "history": history,
    }


class Stopped(Exception):
    """Stands for whatever kills a run."""


class StoppingTask:
    """A task whose batches run out."""

    def __init__(self, task, num_batches):
        self._task, self._left = task, num_batches

    def __getattr__(self, name):
        return getattr(self._task, name)

    def batch(self, places, generator):
        self._left -= 1
        if self._left < 0:
            raise Stopped
        return self._task.batch(places, generator)


def hooks_of(model):
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [hook for module in model.modules() for name in names for hook in getattr(module, name)]


def test_detaching_leaves_a_plain_model_and_optimiser(case, toy_job):
    job = toy_job(eager(case))
    optimizer = torch.optim.SGD(job.model.parameters(), lr=0.1)
    keys, attributes = list(job.model.state_dict()), set(vars(job.model))
    job.sparsifier.attach(job.model, optimizer, job.couplings)
    job.sparsifier.detach()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert hooks_of(job.model) == []
    assert list(job.model.state_dict()) == keys
    assert set(vars(job.model)) == attributes
    assert not any(hasattr(module, "parametrizations") for module in job.model.modules())


def test_after_detaching_steps_do_nothing_to_the_method(case, toy_job, same):
    job = toy_job(eager(case))
    optimizer = torch.optim.SGD(job.model.parameters(), lr=0.1)
    job.sparsifier.attach(job.model, optimizer, job.couplings)
    job.sparsifier.detach()
    before = dict(job.sparsifier.structure().keep)
    for parameter in job.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weights = {name: value.clone() for name, value in job.model.state_dict().items()}
    optimizer.step()
    assert same(dict(job.model.state_dict()), weights)
    assert same(dict(job.sparsifier.structure().keep), before)


def test_the_same_seed_gives_the_same_run_twice(case, toy_job, same):
    assert same(finished(toy_job(eager(case))), finished(toy_job(eager(case))))


@pytest.mark.parametrize("stop_after", [1, 3, 5, 8])
def test_a_stopped_and_resumed_run_is_the_run_that_never_stopped(
    case, stop_after, toy_job, toy_task, tmp_path, same
):
    straight = Surroundings(device="cpu", checkpoints=tmp_path / "straight")
    expected = finished(toy_job(eager(case)), straight)

    often = Surroundings(device="cpu", checkpoints=tmp_path / "cut", checkpoint_seconds=-1.0)
    with pytest.raises(Stopped):
        train(toy_job(eager(case), task=StoppingTask(toy_task, stop_after)), often)
    torch.manual_seed(stop_after)  # another process has another global state
    again = Surroundings(device="cpu", checkpoints=tmp_path / "cut", resume=True)
    assert same(finished(toy_job(eager(case)), again), expected)
    # The last checkpoints hold the optimiser too.
    assert same(load_state(tmp_path / "cut"), load_state(tmp_path / "straight"))


def test_the_structure_fits_and_its_sparsity_is_what_one_counts(case, toy_job):
    job = toy_job(eager(case))
    finished(job)
    structure, tensors = job.sparsifier.structure(), named_tensors(job.model)
    if structure.granularity == "channel":
        shapes = {coupling.name: (coupling.num_units,) for coupling in job.couplings.free}
        assert {name: tuple(kept.shape) for name, kept in structure.keep.items()} == shapes
    else:
        assert set(structure.keep) == set(weight_names(job.model))
        assert all(kept.shape == tensors[name].shape for name, kept in structure.keep.items())
    kept = sum(int(k.sum()) for k in structure.keep.values())
    total = sum(k.numel() for k in structure.keep.values())
    assert structure.sparsity == pytest.approx(1 - kept / total)
    assert all(k.device.type == "cpu" for k in structure.keep.values())
    assert all(k.any() for k in structure.keep.values())


def test_granularity_follows_the_level(case, toy_job):
    job = toy_job(eager(case))
    finished(job)
    expected = {"unit": "channel", "filter": "weight"}.get(case[1], case[1])
    assert job.sparsifier.structure().granularity == expected


def test_weights_outside_the_structure_are_zero_after_detaching(weight_case, toy_job):
    job = toy_job(eager(weight_case))
    finished(job)
    tensors = named_tensors(job.model)
    for name, kept in job.sparsifier.structure().keep.items():
        assert not tensors[name][~kept].any(), name


def test_two_of_every_four_weights_are_kept(toy_job):
    jobs = [toy_job(eager(case)) for case in CASES if case[1] == "2:4"]
    for job in jobs:
        finished(job)
        for name, kept in job.sparsifier.structure().keep.items():
            inputs = kept.shape[1]
            if inputs % 4:
                assert kept.all(), name
            else:
                groups = kept.movedim(1, -1).reshape(-1, 4)
                assert (groups.sum(1) == 2).all(), name
    assert jobs


def test_the_path_ranks_every_unit_and_survives_json(case, toy_job, same):
    job = toy_job(eager(case))
    finished(job)
    path = job.sparsifier.path()
    assert path.method == case[0]
    for coupling in job.couplings.free:
        score = path.couplings[coupling.name].score
        assert score.shape == (coupling.num_units,)
        assert score.isfinite().all()
    again = Path.from_json(json.loads(json.dumps(path.to_json(), allow_nan=False)))
    assert again.to_json() == path.to_json()


def best_half(path):
    keep = {}
    for name, score in path.scores().items():
        keep[name] = torch.zeros(len(score), dtype=torch.bool)
        keep[name][score.argsort(descending=True)[: len(score) // 2]] = True
    return Structure(keep)


def test_the_stripped_network_is_the_masked_one(case, toy_job, toy_task):
    job = toy_job(eager(case))
    finished(job)
    structure = best_half(job.sparsifier.path())
    check_fit(job.couplings, structure)
    certificate = certify(job.model.eval(), job.couplings, structure, [toy_task.example(12)])
    certificate.check()
    assert structure.sparsity == 0.5


def test_a_step_that_the_scaler_skips_changes_nothing(case, toy_job, same):
    job = toy_job(eager(case))
    optimizer = torch.optim.SGD(job.model.parameters(), lr=0.05, momentum=0.9)
    job.sparsifier.attach(job.model, optimizer, job.couplings)
    scaler = torch.amp.GradScaler("cpu")

    def step(factor):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(0)
        batch = job.task.batch(torch.arange(16), generator)
        scaler.scale(job.objective.loss(job.model, batch) * factor).backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)

    def copy():
        state = {"sparsifier": job.sparsifier.state_dict(), "optimizer": optimizer.state_dict()}
        parameters = {name: p.detach() for name, p in job.model.named_parameters()}
        return torch.utils._pytree.tree_map(
            lambda value: value.clone() if isinstance(value, torch.Tensor) else value,
            {**state, "weights": parameters},
        )

    before = copy()
    step(torch.inf)
    assert same(copy(), before)
    step(1.0)
    assert not same(copy(), before)
    job.sparsifier.detach()


def test_settings_survive_json(case):
    settings = eager(case)
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_key_is_refused(method):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        METHODS[method].settings(method=method, thresold=1.0)


def test_settings_do_not_change(case):
    with pytest.raises(ValidationError, match="frozen"):
        eager(case).method = "other"


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_parts_give_the_weights_and_structure_of_the_whole_batch(
    case_without_norms, accumulate, toy_job
):
    # Without batch norm, whose statistics are those of each part. 16 does not divide by 3.
    settings = eager(case_without_norms)
    jobs = [toy_job(settings, net="plain", accumulate=parts) for parts in (1, accumulate)]
    whole, parts = (finished(job) for job in jobs)
    for name, value in whole["weights"].items():
        assert torch.allclose(parts["weights"][name], value, atol=1e-5), name
    assert jobs[0].sparsifier.structure().widths() == jobs[1].sparsifier.structure().widths()
    for one, other in zip(whole["history"], parts["history"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)


def test_metrics_and_notices_can_be_logged(case, toy_job):
    job = toy_job(eager(case))
    finished(job)
    metrics = job.sparsifier.metrics()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all("\n" not in notice for notice in job.sparsifier.notices())


def test_the_penalty_is_none_or_a_scalar(case, toy_job):
    job = toy_job(eager(case))
    job.sparsifier.attach(job.model, torch.optim.SGD(job.model.parameters(), lr=0.1), job.couplings)
    penalty = job.sparsifier.penalty()
    assert penalty is None or penalty.shape == ()
    job.sparsifier.detach()


def test_a_network_without_anything_to_remove_is_accepted(case, toy_net):
    model = toy_net("plain")
    sparsifier = METHODS[case[0]].build(eager(case), Horizon(10, 1.0, seed=0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier.attach(model, optimizer, Couplings(()))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert sparsifier.structure().num_units == 0 or case[1] != "unit"
    assert sparsifier.path().couplings == {}
    sparsifier.detach()


def test_an_optimiser_that_steps_through_a_closure_is_refused(
    stepping_case, toy_net, toy_couplings
):
    model = toy_net("residual")
    sparsifier = METHODS[stepping_case[0]].build(eager(stepping_case), Horizon(10, 1.0, seed=0))
    optimizer = torch.optim.LBFGS(model.parameters())
    with pytest.raises(TrainError, match="LBFGS steps through a closure"):
        sparsifier.attach(model, optimizer, toy_couplings["residual"])
    assert not optimizer._optimizer_step_pre_hooks


def test_a_checkpoint_of_another_method_is_refused_by_name(stepping_case, toy_job):
    job = toy_job(eager(stepping_case))
    optimizer = torch.optim.SGD(job.model.parameters(), lr=0.01)
    job.sparsifier.attach(job.model, optimizer, job.couplings)
    state = job.sparsifier.state_dict() | {"method": "annealing"}
    with pytest.raises(TrainError, match=f"annealing.*{stepping_case[0]}"):
        job.sparsifier.load_state_dict(state)
    job.sparsifier.detach()


def test_a_checkpoint_of_another_network_is_refused(stepping_case, toy_job, toy_net):
    job = toy_job(eager(stepping_case))
    other = toy_net("plain", num_classes=5)
    saved = []
    for model, couplings in ((job.model, job.couplings), (other, Couplings(()))):
        sparsifier = METHODS[stepping_case[0]].build(
            eager(stepping_case), Horizon(10, 1.0, seed=0, num_epochs=2)
        )
        sparsifier.attach(model, torch.optim.SGD(model.parameters(), lr=0.01), couplings)
        saved.append((sparsifier, sparsifier.state_dict()))
    with pytest.raises(TrainError):
        saved[0][0].load_state_dict(saved[1][1])
    for sparsifier, _ in saved:
        sparsifier.detach()


def test_a_compiled_network_gives_the_same_structure(case, toy_job):
    """The graph of a compiled network may sum in another order: weights to 1e-5."""
    plain, compiled = (toy_job(eager(case)) for _ in range(2))
    for job, run in (
        (plain, plain.model),
        (compiled, torch.compile(compiled.model, backend="aot_eager")),
    ):
        optimizer = torch.optim.SGD(job.model.parameters(), lr=0.05, momentum=0.9)
        job.sparsifier.attach(job.model, optimizer, job.couplings)
        for step in range(6):
            optimizer.zero_grad()
            batch = job.task.batch(torch.arange(16) + step, torch.Generator().manual_seed(0))
            job.objective.loss(run, batch).backward()
            optimizer.step()
        job.sparsifier.detach()
    for name, value in plain.model.named_parameters():
        assert torch.allclose(compiled.model.get_parameter(name), value, atol=1e-5), name
    for name, kept in plain.sparsifier.structure().keep.items():
        assert torch.equal(compiled.sparsifier.structure().keep[name], kept), name


def test_dessilbi_finds_a_planted_support():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 20, generator=draw)
    planted = torch.zeros(20, dtype=torch.bool)
    planted[[2, 5, 11, 17]] = True
    outputs = inputs @ (planted * 2.0) + 0.1 * torch.randn(200, generator=draw)
    model = nn.Linear(20, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.01)
    columns = Member("weight", 1, torch.arange(20).view(20, 1), "filter")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    settings = METHODS["dessilbi"].settings(nu=1.0, lam=100.0)
    sparsifier = METHODS["dessilbi"].build(settings, Horizon(400, 20.0, seed=0))
    sparsifier.attach(model, optimizer, Couplings((Coupling("columns", 20, (columns,)),)))
    for _ in range(60):
        optimizer.zero_grad()
        (0.5 * (model(inputs).flatten() - outputs).square().mean()).backward()
        optimizer.step()
    assert torch.equal(sparsifier.structure().keep["columns"], planted)
    ranks = sparsifier.path().couplings["columns"].score.argsort(descending=True)
    assert set(ranks[:4].tolist()) == {2, 5, 11, 17}
    sparsifier.detach()


def test_dessilbi_finds_the_hidden_units_that_a_teacher_uses(toy_net, toy_task):
    """Twenty hidden units of which four reach the output: the others never enter."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1)).double()
    used = torch.zeros(12, dtype=torch.bool)
    used[[1, 4, 9]] = True
    with torch.no_grad():
        model[2].weight[:, ~used] = 0
    inputs = torch.randn(64, 6, dtype=torch.float64)
    couplings = trace(model, inputs[:2])
    optimizer = torch.optim.SGD([model[0].weight], lr=0.05)
    settings = METHODS["dessilbi"].settings(nu=1.0, lam=1.4)
    sparsifier = METHODS["dessilbi"].build(settings, Horizon(400, 20.0, seed=0))
    sparsifier.attach(model, optimizer, couplings)
    for _ in range(400):
        optimizer.zero_grad()
        (3.0 * inputs[:, 0].relu() - model(inputs).flatten()).square().mean().backward()
        optimizer.step()
    kept = sparsifier.structure().keep["0"]
    assert kept.any()
    assert not (kept & ~used).any()
    sparsifier.detach()

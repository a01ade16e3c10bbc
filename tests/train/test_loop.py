import dataclasses
import math

import pytest
import torch

from compressor.couplings.trace import trace
from compressor.errors import TrainError
from compressor.sparsity.magnitude import MagnitudeSettings
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.tasks.classification import Classification
from compressor.train import loop
from compressor.train.checkpoint import load_state, save_state
from compressor.train.device import make_accelerator
from compressor.train.loop import Surroundings, steps_per_epoch, train
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

ON_CPU = Surroundings(device="cpu")


class Stopped(Exception):
    """Stands for whatever kills a run."""


class CountingTask(Classification):
    """Remembers which images were asked for."""

    def __init__(self, data, settings):
        super().__init__(data, settings)
        self.asked = []

    def batch(self, places, generator):
        self.asked.append(places.tolist())
        return super().batch(places, generator)


@pytest.fixture
def counting(toy_data, toy_task):
    return CountingTask(toy_data, toy_task._settings)


# --- what is recorded ---


def test_there_is_a_record_for_each_epoch(toy_job):
    told = []
    job = toy_job(SplitLBISettings())
    history = train(job, dataclasses.replace(ON_CPU, on_epoch=told.append))
    assert told == history
    assert [record["epoch"] for record in history] == [1, 2]
    assert [record["step"] for record in history] == [5, 10]
    assert all(0 <= record["validation_accuracy"] <= 1 for record in history)
    assert history[-1]["support"] == job.sparsifier.structure().widths()


def test_a_record_has_the_share_of_weights_where_single_ones_are_kept(toy_job):
    of_weights = toy_job(MagnitudeSettings(level="weight", density=0.25))
    records = [train(job, ON_CPU)[-1] for job in (of_weights, toy_job(SplitLBISettings()))]
    assert records[0]["kept_share"] == pytest.approx(0.25, abs=0.01)
    assert records[0]["support"] == {}
    assert "kept_share" not in records[1]


def test_the_network_learns(toy_job):
    history = train(toy_job(epochs=4), ON_CPU)
    assert history[-1]["loss"] < 0.5 * math.log(3)
    assert history[-1]["validation_accuracy"] > 0.9


def test_the_path_time_of_a_method_is_the_sum_of_the_learning_rates(toy_job):
    job = toy_job(SplitLBISettings(), schedule="cosine", epochs=3)
    history = train(job, ON_CPU)
    assert history[-1]["path_time"] == pytest.approx(path_time(job.settings, 5))


def test_the_loss_of_a_record_is_the_mean_over_its_epoch(toy_job, monkeypatch):
    job = toy_job(epochs=2)
    losses = []

    class Watched:
        def loss(self, model, batch):
            losses.append(job.objective.loss(model, batch))
            return losses[-1]

    history = train(dataclasses.replace(job, objective=Watched()), ON_CPU)
    means = [sum(loss.item() for loss in losses[i : i + 5]) / 5 for i in (0, 5)]
    assert [record["loss"] for record in history] == pytest.approx(means)


# --- which images come when ---


def test_an_epoch_shows_each_image_at_most_once_in_whole_batches(toy_job, counting):
    train(toy_job(task=counting), ON_CPU)
    assert [len(places) for places in counting.asked] == [16] * 10
    for epoch in (counting.asked[:5], counting.asked[5:]):
        assert len({place for places in epoch for place in places}) == 80
    assert counting.asked[:5] != counting.asked[5:]


def test_accumulated_parts_divide_the_same_batches(toy_job, counting):
    train(toy_job(task=counting, epochs=1), ON_CPU)
    whole, counting.asked = counting.asked, []
    train(toy_job(task=counting, epochs=1, accumulate=5), ON_CPU)
    assert [len(places) for places in counting.asked] == [4, 3, 3, 3, 3] * 5
    joined = [sum(counting.asked[i : i + 5], []) for i in range(0, 25, 5)]
    assert joined == whole


@pytest.mark.parametrize("accumulate", [2, 3, 5, 8])
def test_each_image_weighs_the_same_in_however_many_parts(toy_job, accumulate):
    """A loss whose gradient is the mean of the images' places, so parts cannot hide."""

    class Places:
        def loss(self, model, batch):
            return model.classifier.bias.sum() * batch.places.float().mean()

    biases = []
    for parts in (1, accumulate):
        job = toy_job(net="plain", accumulate=parts, momentum=0.0, lr=0.01, epochs=1)
        start = job.model.classifier.bias.detach().clone()
        train(dataclasses.replace(job, objective=Places()), ON_CPU)
        biases.append(job.model.classifier.bias.detach() - start)
    assert torch.allclose(biases[0], biases[1], rtol=1e-5)


def test_a_penalty_weighs_the_same_in_however_many_parts(toy_job):
    moved = []
    for parts in (1, 3):
        job = toy_job(net="plain", accumulate=parts, momentum=0.0, epochs=1)
        job.sparsifier.penalty = lambda job=job: 7.0 * job.model.classifier.bias.sum()
        job = dataclasses.replace(job, objective=Nothing())
        start = job.model.classifier.bias.detach().clone()
        train(job, ON_CPU)
        moved.append(job.model.classifier.bias.detach() - start)
    assert torch.allclose(moved[0], moved[1], rtol=1e-5)
    assert (moved[0] < -0.1).all()


class Nothing:
    """A loss that is zero whatever the network says."""

    def loss(self, model, batch):
        return 0.0 * model(batch.inputs).sum()


class Nowhere:
    """A loss that is not a number."""

    def loss(self, model, batch):
        return model(batch.inputs).sum() * torch.nan


# --- what cannot be trained ---


def test_a_loss_that_is_not_finite_is_one_line(toy_job):
    job = dataclasses.replace(toy_job(), objective=Nowhere())
    with pytest.raises(TrainError, match="train: the loss is nan at step 5. Lower its lr") as told:
        train(job, ON_CPU)
    assert "\n" not in str(told.value)


def test_no_checkpoint_is_left_of_a_loss_that_is_not_finite(toy_job, tmp_path):
    job = dataclasses.replace(toy_job(), objective=Nowhere())
    around = Surroundings(device="cpu", checkpoints=tmp_path / "point", checkpoint_seconds=-1.0)
    with pytest.raises(TrainError, match="nan at step 1"):
        train(job, around)
    assert load_state(tmp_path / "point") is None


def test_after_a_failure_nothing_is_left_on_the_method(toy_job):
    job = dataclasses.replace(toy_job(SplitLBISettings()), objective=Nowhere())
    with pytest.raises(TrainError):
        train(job, ON_CPU)
    assert job.sparsifier._hooks is None


def test_too_few_images_are_one_line(toy_task):
    with pytest.raises(TrainError, match="84 training images and batch_size is 85"):
        steps_per_epoch(toy_task, TrainSettings(epochs=1, batch_size=85))
    assert steps_per_epoch(toy_task, TrainSettings(epochs=1, batch_size=84)) == 1
    assert steps_per_epoch(toy_task, TrainSettings(epochs=1, batch_size=16)) == 5


def test_a_batch_that_cannot_be_cut_into_so_many_parts_is_one_line(toy_job):
    with pytest.raises(TrainError, match="batch_size is 16, and 9 accumulated parts"):
        train(toy_job(accumulate=9), ON_CPU)


# --- surroundings of a run ---


def test_the_model_is_plain_and_on_the_cpu_afterwards(toy_job):
    job = toy_job(precision="bf16", memory_format="channels-last")
    attributes = set(vars(job.model))
    train(job, ON_CPU)
    assert set(vars(job.model)) == attributes
    for parameter in job.model.parameters():
        assert parameter.device.type == "cpu"
        assert parameter.dtype == torch.float32
        assert parameter.is_contiguous()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_too(toy_job, precision):
    history = train(toy_job(precision=precision, epochs=4), ON_CPU)
    assert history[-1]["validation_accuracy"] > 0.9


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_and_methods_stay_in_float32(toy_job, precision):
    job = toy_job(SplitLBISettings(), precision=precision)
    train(job, ON_CPU)
    assert all(p.dtype == torch.float32 for p in job.model.parameters())
    twins = job.sparsifier.state_dict()["twins"].values()
    duals = [dual for twin in twins for dual in twin["dual"]]
    assert duals
    assert all(dual.dtype == torch.float32 for dual in duals)


def test_the_memory_layout_changes_speed_only(toy_job):
    weights = []
    for layout in ("contiguous", "channels-last"):
        job = toy_job(memory_format=layout)
        train(job, ON_CPU)
        weights.append(job.model.state_dict())
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-4), name


def test_the_callers_random_numbers_are_left_alone(toy_job):
    job = toy_job()
    state = torch.get_rng_state()
    train(job, ON_CPU)
    assert torch.equal(torch.get_rng_state(), state)


# --- going on from a checkpoint ---


def test_a_run_killed_while_an_epoch_was_finished_loses_no_record(toy_job, tmp_path, same):
    expected = train(toy_job(SplitLBISettings()), ON_CPU)

    def stop(record):
        if record["epoch"] == 2:
            raise Stopped

    around = Surroundings(
        device="cpu", checkpoints=tmp_path / "point", checkpoint_seconds=-1.0, on_epoch=stop
    )
    with pytest.raises(Stopped):
        train(toy_job(SplitLBISettings()), around)
    again = Surroundings(device="cpu", checkpoints=tmp_path / "point", resume=True)
    assert same(train(toy_job(SplitLBISettings()), again), expected)


def test_a_finished_run_is_not_trained_again(toy_job, counting, tmp_path, same):
    around = Surroundings(device="cpu", checkpoints=tmp_path / "point", resume=True)
    first = toy_job(task=counting)
    history = train(first, around)
    counting.asked, told = [], []
    second = toy_job(task=counting)
    assert same(train(second, dataclasses.replace(around, on_epoch=told.append)), history)
    assert counting.asked == []
    assert told == []
    assert same(dict(first.model.state_dict()), dict(second.model.state_dict()))


def test_without_resume_a_checkpoint_is_not_looked_at(toy_job, counting, tmp_path):
    around = Surroundings(device="cpu", checkpoints=tmp_path / "point")
    train(toy_job(task=counting), around)
    train(toy_job(task=counting), around)
    assert len(counting.asked) == 20


def test_resuming_without_a_checkpoint_starts_at_the_beginning(toy_job, tmp_path):
    nowhere = Surroundings(device="cpu", checkpoints=tmp_path / "point", resume=True)
    assert len(train(toy_job(), nowhere)) == 2
    assert len(train(toy_job(), Surroundings(device="cpu", resume=True))) == 2


def test_dropout_goes_on_where_it_was(toy_net, toy_job, toy_task, tmp_path, same):
    def job():
        model = toy_net("plain")
        model.classifier = torch.nn.Sequential(torch.nn.Dropout(0.5), model.classifier)
        couplings = trace(model, toy_task.example(2))
        return dataclasses.replace(toy_job(net="plain"), model=model, couplings=couplings)

    straight, cut = job(), job()
    train(straight, ON_CPU)

    def stop(_record):
        raise Stopped

    point = tmp_path / "point"
    around = Surroundings(device="cpu", checkpoints=point, checkpoint_seconds=-1.0, on_epoch=stop)
    with pytest.raises(Stopped):
        train(job(), around)
    train(cut, Surroundings(device="cpu", checkpoints=point, resume=True))
    assert same(dict(straight.model.state_dict()), dict(cut.model.state_dict()))


@pytest.fixture
def scaled(monkeypatch):
    """Train with a gradient scaler, as fp16 does on a GPU; its first scale is given."""

    def use(first_scale):
        def make(settings, device):
            engine = make_accelerator(settings, device)
            engine.scaler = torch.amp.GradScaler("cpu", init_scale=first_scale)
            return engine

        monkeypatch.setattr(loop, "make_accelerator", make)

    return use


def test_a_scaler_goes_on_where_it_was(toy_job, tmp_path, scaled):
    scaled(2.0)
    point = tmp_path / "point"
    train(toy_job(), Surroundings(device="cpu", checkpoints=point))
    state = load_state(point)
    assert state["scaler"]["_growth_tracker"] == 10
    state["scaler"]["_growth_tracker"] = 1234
    state["step"] = 9
    save_state(point, state)
    train(toy_job(), Surroundings(device="cpu", checkpoints=point, resume=True))
    assert load_state(point)["scaler"]["_growth_tracker"] == 1235


def test_steps_that_the_scaler_skips_are_no_steps_of_the_method(toy_job, tmp_path, scaled):
    scaled(2.0**120)

    class Large:
        def loss(self, model, batch):
            return 1e4 * job.task.loss(model(batch.inputs), batch)

    job = dataclasses.replace(toy_job(SplitLBISettings(), lr=1e-6), objective=Large())
    point = tmp_path / "point"
    train(job, Surroundings(device="cpu", checkpoints=point))
    halvings = math.log2(2.0**120 / load_state(point)["scaler"]["scale"])
    assert 0 < round(halvings) < 10
    assert job.sparsifier.state_dict()["step"] == 10 - round(halvings)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels-last"])
def test_loaded_weights_keep_the_layout_of_the_run(toy_job, tmp_path, memory_format):
    point = tmp_path / "point"
    train(toy_job(memory_format=memory_format), Surroundings(device="cpu", checkpoints=point))
    seen = []

    class Watched:
        def loss(self, model, batch):
            seen.append((model.blocks[0].conv1.weight.stride(), batch.inputs.stride()))
            return model(batch.inputs).square().mean()

    job = dataclasses.replace(toy_job(memory_format=memory_format, epochs=3), objective=Watched())
    train(job, Surroundings(device="cpu", checkpoints=point, resume=True))
    weight = torch.empty(4, 4, 3, 3)
    if memory_format == "channels-last":
        weight = weight.to(memory_format=torch.channels_last)
    assert {strides[0] for strides in seen} == {weight.stride()}


def test_a_checkpoint_of_another_network_is_one_line(toy_job, tmp_path):
    point = tmp_path / "point"
    train(toy_job(net="plain"), Surroundings(device="cpu", checkpoints=point))
    with pytest.raises(TrainError, match="is of another network, method or optimiser") as told:
        train(toy_job(), Surroundings(device="cpu", checkpoints=point, resume=True))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


def test_a_checkpoint_of_another_method_is_one_line(toy_job, tmp_path):
    point = tmp_path / "point"
    train(toy_job(MagnitudeSettings()), Surroundings(device="cpu", checkpoints=point))
    again = Surroundings(device="cpu", checkpoints=point, resume=True)
    # What a method finds wrong is told as the method tells it.
    told = "^The checkpoint is of magnitude at level unit, the run of dessilbi at level unit"
    with pytest.raises(TrainError, match=told):
        train(toy_job(SplitLBISettings()), again)


def test_a_checkpoint_that_lacks_a_part_is_one_line(toy_job, tmp_path):
    save_state(tmp_path / "point", {"step": 3})
    with pytest.raises(TrainError, match="'model'"):
        train(toy_job(), Surroundings(device="cpu", checkpoints=tmp_path / "point", resume=True))


def test_a_damaged_checkpoint_is_one_line(toy_job, tmp_path):
    point = tmp_path / "point"
    train(toy_job(), Surroundings(device="cpu", checkpoints=point))
    (point / "state.json").write_text("{")
    with pytest.raises(TrainError, match="the checkpoint is damaged"):
        train(toy_job(), Surroundings(device="cpu", checkpoints=point, resume=True))

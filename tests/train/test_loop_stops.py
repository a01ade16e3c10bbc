"""A loop that ends before its last epoch because a rule says so."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compressor.couplings.coupling import mask_
from compressor.sparsity.gates import GatesSettings
from compressor.sparsity.magnitude import MagnitudeSettings
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.tasks.classification import Classification, TaskSettings
from compressor.train.checkpoint import load_state
from compressor.train.loop import Surroundings, train
from compressor.train.norms import reestimate_norms
from compressor.train.order import epoch_order
from compressor.train.stopping import AccuracyRule, ShareRule, StableRule

ON_CPU = Surroundings(device="cpu")
ENTERS_SLOWLY = SplitLBISettings(nu=0.15, lam=0.98)
"""Of 20 units 0, 2, 11 and 15 are in after the four epochs."""
WORKER = Path(__file__).with_name("stopping_worker.py")
PATIENCE_SECONDS = 300


class Killed(Exception):
    """Stands for whatever kills a run."""


@dataclasses.dataclass(frozen=True)
class EndsAfter:
    """Ends after an epoch, whatever happened; looks at nothing."""

    epoch: int

    def figures(self, _look):
        return {}

    def why(self, records):
        return "long enough" if len(records) >= self.epoch else None


@pytest.fixture
def job_until(toy_job):
    """Make a job of four epochs with a rule."""

    def make(rule, sparsity=ENTERS_SLOWLY, **settings):
        return dataclasses.replace(toy_job(sparsity, epochs=4, **settings), stop=rule)

    return make


def left_by(job, around=ON_CPU):
    """Everything that a run leaves."""
    history = train(job, around)
    return {
        "weights": {name: value.clone() for name, value in job.model.state_dict().items()},
        "structure": dict(job.sparsifier.structure().keep),
        "path": job.sparsifier.path().to_json(),
        "history": history,
    }


def without(history, *keys):
    return [{key: value for key, value in r.items() if key not in keys} for r in history]


def test_the_epoch_that_fulfils_the_rule_is_the_last(job_until):
    told = []
    around = dataclasses.replace(ON_CPU, on_epoch=told.append)
    history = train(job_until(EndsAfter(3)), around)
    assert [record.get("stopped") for record in history] == [None, None, "long enough"]
    assert told == history
    assert history[-1]["step"] == 15


def test_a_rule_that_never_holds_leaves_all_epochs(job_until):
    history = train(job_until(EndsAfter(5)), ON_CPU)
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    assert not any("stopped" in record for record in history)


def test_in_the_last_epoch_nothing_is_stopped_any_more(job_until):
    assert "stopped" not in train(job_until(EndsAfter(4)), ON_CPU)[-1]


def test_a_search_that_is_stopped_is_the_beginning_of_the_whole_one(job_until, same):
    stopped = left_by(job_until(EndsAfter(2), schedule="cosine"))
    records, weights = [], {}
    whole = job_until(None, schedule="cosine")

    def look(record):
        records.append(record)
        if record["epoch"] == 2:
            weights.update({n: v.clone() for n, v in whole.model.state_dict().items()})

    train(whole, dataclasses.replace(ON_CPU, on_epoch=look))
    assert same(without(stopped["history"], "stopped"), records[:2])
    assert same(stopped["weights"], weights)


def test_looking_at_the_masked_network_disturbs_nothing(job_until, same):
    watched = left_by(job_until(AccuracyRule(delta=0.0, patience=4, norm_batches=2)))
    alone = left_by(job_until(None))
    assert any("masked_accuracy" in record for record in watched["history"])
    for part in ("weights", "structure", "path"):
        assert same(watched[part], alone[part]), part
    assert same(without(watched["history"], "masked_accuracy"), alone["history"])


class Fine(Classification):
    """Its accuracy is a mean of outputs, which two networks never have in common."""

    def accuracy(self, predict, _split):
        return float(predict(self.example(8)).sigmoid().mean())


@pytest.mark.parametrize("norm_batches", [0, 2])
def test_the_masked_accuracy_is_that_of_the_masked_network(job_until, toy_data, norm_batches):
    task = Fine(toy_data, TaskSettings(augment="none"))
    rule = AccuracyRule(delta=0.0, patience=4, norm_batches=norm_batches)
    job = job_until(rule, task=task)
    history = train(job, ON_CPU)
    support = job.sparsifier.structure()
    assert support.num_kept < support.num_units
    assert ["masked_accuracy" in record for record in history] == [False, False, True, True]
    mask_(job.model.eval(), job.couplings, support)
    order = epoch_order(task.num_train, job.seed, epoch=-1)
    images = [task.batch(order[i : i + 16], None).inputs for i in range(0, 16 * norm_batches, 16)]
    reestimate_norms(job.model, images)
    with torch.no_grad():
        expected = task.accuracy(job.model, "validation")
    assert history[-1]["masked_accuracy"] == pytest.approx(expected, abs=2e-7)
    assert history[-1]["validation_accuracy"] != pytest.approx(expected, abs=2e-6)


class CountingRule(StableRule):
    """Remembers which supports it was shown."""

    def figures(self, look):
        SHOWN.append((look.before, look.support))
        return super().figures(look)


SHOWN = []


@pytest.mark.parametrize(
    "sparsity",
    [
        ENTERS_SLOWLY,
        GatesSettings(form="independent", strength=0.1, rate=2.0),
        MagnitudeSettings(density=0.5, schedule="cubic"),
    ],
    ids=lambda settings: settings.method,
)
def test_each_support_is_compared_with_the_one_before(job_until, sparsity):
    SHOWN.clear()
    job = job_until(CountingRule(jaccard=1.0, patience=4), sparsity)
    widths = [record["support"] for record in train(job, ON_CPU)]
    assert [now.widths() for _, now in SHOWN] == widths
    assert [before.widths() for before, _ in SHOWN][1:] == widths[:-1]
    start = SHOWN[0][0]
    assert start.num_kept == (0 if sparsity is ENTERS_SLOWLY else start.num_units)


@pytest.mark.parametrize("rule", [StableRule(0.1, 1), ShareRule(0.5), EndsAfter(3)])
@pytest.mark.parametrize("epochs_left", [0, 1])
def test_a_killed_run_stops_where_the_whole_one_does(job_until, tmp_path, same, rule, epochs_left):
    expected = left_by(job_until(rule))
    assert "stopped" in expected["history"][-1]
    killed_after = len(expected["history"]) - epochs_left

    def kill(record):
        if record["epoch"] == killed_after:
            raise Killed

    point = tmp_path / "point"
    around = Surroundings(device="cpu", checkpoints=point, checkpoint_seconds=-1.0, on_epoch=kill)
    with pytest.raises(Killed):
        train(job_until(rule), around)
    again = Surroundings(device="cpu", checkpoints=point, resume=True)
    assert same(left_by(job_until(rule), again), expected)


def test_a_run_that_had_stopped_stays_stopped(job_until, tmp_path, same):
    around = Surroundings(device="cpu", checkpoints=tmp_path / "point", resume=True)
    first = left_by(job_until(EndsAfter(2)), around)
    told = []
    again = dataclasses.replace(around, on_epoch=told.append)
    assert same(left_by(job_until(EndsAfter(2)), again), first)
    assert told == []
    assert len(first["history"]) == 2


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What two processes leave of which the first wants two epochs, and the other one."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, str(WORKER), json.dumps({"out": str(folder), "epochs": [2, 1]})]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [load_state(folder / str(rank)) for rank in range(2)]


def test_several_processes_stop_together_as_the_first_decides(of_two, same):
    for state in of_two:
        assert [record.get("stopped") for record in state["history"]] == [None, "after 2"]
        assert [record["rank"] for record in state["history"]] == [0, 0]
    first, second = of_two
    assert same(first["weights"], second["weights"])

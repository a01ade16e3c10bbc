"""Runs that are stopped, killed and gone on with, and runs on several processes."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file

from compressor.console import Console
from compressor.files import read_json, sha256
from compressor.pipeline import Where, run_recipe
from compressor.recipe import load_recipe

PLAIN = """
name = "plain"
[model]
factory = "models/plain.py:plain_net"
arguments = { widths = [8, 8] }
[data]
source = "digits"
[sparsity]
method = "dessilbi"
[dense]
batch_size = 64
[train]
epochs = 12
batch_size = 32
schedule = "constant"
[strip]
keep_macs = 0.6
round_to = 1
[tune]
epochs = 1
batch_size = 64
"""
"""The smallest net; its search is long enough to be stopped twice."""


def said_by(recipe, folder, **where):
    """Run ``recipe`` in ``folder``; what was said."""
    stream = io.StringIO()
    run_recipe(recipe, Where(out=folder, console=Console(stream=stream), device="cpu", **where))
    return stream.getvalue()


@dataclass(frozen=True)
class Stopped:
    """A run that was stopped by ctrl-C, gone on with, killed, and gone on with to the end."""

    recipe: object
    folder: Path
    killed: Path
    message: str
    status: int
    printed: str


def heed_ctrl_c():
    """Whoever runs the tests in the background has ctrl-C ignored, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(path, folder, *options):
    command = [sys.executable, "-m", "compressor.cli", "tune", str(path), "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def wait_for_epoch(process, folder, epoch):
    """Wait until the search has finished this epoch and has left a checkpoint of one before."""
    log, ends = folder / "log.jsonl", time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        lines = log.read_text().splitlines() if log.exists() else []
        records = [json.loads(line) for line in lines if '"event": "epoch"' in line]
        if any(r["stage"] == "train" and r["epoch"] >= epoch for r in records):
            return
        time.sleep(0.005)
    raise AssertionError(f"the search did not come to epoch {epoch}: {process.communicate()}")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    path, out = folder / "plain.toml", folder / "run"
    path.write_text(PLAIN)
    said_by(load_recipe(path), out, until="dense")
    first = start(path, out, "--quiet")
    wait_for_epoch(first, out, 2)
    first.send_signal(signal.SIGINT)
    printed, message = first.communicate(timeout=60)
    second = start(path, out, "--quiet", "--resume")
    wait_for_epoch(second, out, 6)
    second.kill()
    second.communicate(timeout=60)
    killed = folder / "killed"
    shutil.copytree(out, killed)
    recipe = load_recipe(path)
    said_by(recipe, out, resume=True, until="tune")
    return Stopped(recipe, out, killed, message, first.returncode, printed)


def train_epochs(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [e["epoch"] for e in lines if e["event"] == "epoch" and e["stage"] == "train"]


class TestStoppedRun:
    """A run that was stopped goes on where it was, and ends as if nothing had happened."""

    def test_ctrl_c_is_one_line_that_says_how_to_go_on(self, stopped):
        lines = [x for x in stopped.message.splitlines() if not x.startswith("warning")]
        assert stopped.status == 1
        assert stopped.printed == ""
        assert len(lines) == 1
        assert lines[0].startswith("Stopped. Finished stages are kept; go on with: compressor tune")
        assert lines[0].endswith("--resume")

    def test_a_kill_leaves_finished_stages_whole_and_the_unfinished_one_without_its_name(
        self, stopped
    ):
        stages = read_json(stopped.killed / "manifest.json")["stages"]
        assert list(stages) == ["inspect", "dense"]
        assert not (stopped.killed / "train").exists()
        assert (stopped.killed / ".train.partial" / "checkpoint" / "state.json").is_file()
        for entry in stages.values():
            for name, file in entry["files"].items():
                assert sha256(stopped.killed / name) == file["sha256"]

    def test_going_on_repeats_at_most_what_was_after_the_checkpoint(self, stopped):
        epochs = train_epochs(stopped.folder)
        assert epochs[-1] == 12
        assert len(epochs) <= 12 + 2

    def test_the_weights_are_those_of_an_undisturbed_run_bit_for_bit(self, stopped, tmp_path):
        said_by(stopped.recipe, tmp_path / "run", until="tune")
        for stage in ("dense", "train", "strip", "tune"):
            found, expected = (
                load_file(folder / stage / "weights.safetensors")
                for folder in (stopped.folder, tmp_path / "run")
            )
            assert found.keys() == expected.keys()
            assert all(found[name].equal(expected[name]) for name in found)

    def test_nothing_of_the_attempts_is_left(self, stopped):
        assert [p.name for p in stopped.folder.rglob(".*")] == [".compressor.lock"]
        assert not list(stopped.folder.rglob("checkpoint"))

    def test_without_resume_the_unfinished_stage_starts_anew(self, stopped, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(stopped.killed, folder)
        before = len(train_epochs(folder))
        said = said_by(stopped.recipe, folder, until="train")
        assert "train: starts again; --resume goes on where it was stopped" in said
        assert train_epochs(folder)[before:] == list(range(1, 13))


def test_two_processes_train_together_and_the_first_one_writes(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN.replace("epochs = 12", "epochs = 1"))
    said_by(load_recipe(path), tmp_path / "run", until="dense")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = ["--out", str(tmp_path / "run"), "--device", "cpu", "--json"]
    done = subprocess.run(
        [*command, "-m", "compressor.cli", "strip", str(path), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"run": str(tmp_path / "run")}
    stages = read_json(tmp_path / "run" / "manifest.json")["stages"]
    assert list(stages) == ["inspect", "dense", "train", "strip"]
    assert train_epochs(tmp_path / "run") == [1]
    assert [p.name for p in (tmp_path / "run").rglob(".*")] == [".compressor.lock"]
    assert done.stderr.count("train: epoch 1/1") == 1

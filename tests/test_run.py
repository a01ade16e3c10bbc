import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from compressor.errors import RunError
from compressor.files import read_json, sha256, write_json
from compressor.run import CHECKPOINT, KEY_FILE, LOCK, LOG, MANIFEST, Run


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def fail_after_writing(path, failure):
    path.write_text("half")
    raise failure


def finish(run, stage, settings=1, made_from=(), text="weights"):
    key = run.key(settings, made_from)
    with run.writing(stage, key, made_from) as folder:
        (folder / "weights").write_text(text)
    return key


def visible(run):
    return sorted(path.name for path in run.folder.iterdir() if not path.name.startswith("."))


def test_a_finished_stage_is_done_and_in_the_manifest_with_its_files(run):
    key = finish(run, "train")
    entry = read_json(run.folder / MANIFEST)["stages"]["train"]
    file = run.folder / "train" / "weights"
    assert run.is_done("train", key)
    assert entry["key"] == key
    assert entry["files"] == {"train/weights": {"sha256": sha256(file), "bytes": 7}}
    assert visible(run) == [MANIFEST, "train"]


def test_a_run_opened_again_knows_what_is_done(run):
    key = finish(run, "train")
    assert Run(run.folder).is_done("train", key)
    assert Run(run.folder).seconds() == run.seconds()


def test_the_key_follows_the_settings_and_what_the_stage_is_made_from(run):
    finish(run, "train", settings={"lr": 0.1})
    before = run.key({"keep": 0.3}, ["train"])
    assert run.key({"keep": 0.3}, ["train"]) == before
    assert run.key({"keep": 0.4}, ["train"]) != before
    finish(run, "train", settings={"lr": 0.2})
    assert run.key({"keep": 0.3}, ["train"]) != before


def test_a_stage_made_from_one_that_is_not_done_has_no_key(run):
    with pytest.raises(RunError, match="stage train is not done.*compressor train"):
        run.key(1, ["train"])


@pytest.mark.parametrize("harm", [lambda p: p.write_text("damaged"), lambda p: p.unlink()])
def test_a_stage_whose_file_changed_or_is_gone_is_not_done(run, harm):
    key = finish(run, "train")
    harm(run.folder / "train" / "weights")
    assert not run.is_done("train", key)
    assert run.was_finished("train", key)
    assert run.changed_files("train") == ["train/weights"]


def test_a_file_on_top_of_the_run_belongs_to_the_stage_too(run):
    key = run.key(1, ())
    with run.writing("report", key, (), on_top=["summary.json"]):
        write_json(run.folder / "summary.json", {})
    assert run.is_done("report", key)
    assert visible(run) == [MANIFEST, "summary.json"]
    (run.folder / "summary.json").unlink()
    assert run.changed_files("report") == ["summary.json"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_stage_is_started_and_not_done(run, failure):
    key = run.key(1, ())
    with pytest.raises(failure), run.writing("train", key, ()) as folder:
        fail_after_writing(folder / "weights", failure)
    assert run.was_started("train", key)
    assert not run.is_done("train", key)
    assert visible(run) == [MANIFEST]


def test_a_failed_stage_leaves_the_finished_one_of_before(run):
    key = finish(run, "train", text="old")
    with pytest.raises(ValueError, match="no"), run.writing("train", "other", ()) as folder:
        fail_after_writing(folder / "weights", ValueError("no"))
    assert (run.folder / "train" / "weights").read_text() == "old"
    assert run.is_done("train", key)


def interrupt(run, key):
    with pytest.raises(KeyboardInterrupt), run.writing("train", key, ()) as folder:
        leave_checkpoint(folder)


def leave_checkpoint(folder):
    (folder / CHECKPOINT).mkdir()
    (folder / CHECKPOINT / "state").write_text("step 7")
    (folder / ".weights.x7").write_text("what a kill leaves of a file")
    (folder / ".checkpoint.x8").mkdir()
    raise KeyboardInterrupt


def test_going_on_finds_the_checkpoint_and_nothing_else_of_the_attempt(run):
    interrupt(run, "key")
    with run.writing("train", "key", ()) as folder:
        assert {path.name for path in folder.iterdir()} == {CHECKPOINT, KEY_FILE}
        assert (folder / CHECKPOINT / "state").read_text() == "step 7"
        (folder / "weights").touch()
    assert [path.name for path in (run.folder / "train").iterdir()] == ["weights"]


def test_an_attempt_with_another_key_is_cleared(run):
    interrupt(run, "key")
    assert not run.was_started("train", "another key")
    with run.writing("train", "another key", ()) as folder:
        assert {path.name for path in folder.iterdir()} == {KEY_FILE}


def test_a_cleared_attempt_is_not_started(run):
    interrupt(run, "key")
    run.clear("train")
    assert not run.was_started("train", "key")
    assert visible(run) == [MANIFEST]


def test_seconds_of_an_interrupted_attempt_are_counted(run, monkeypatch):
    clock = iter([0.0, 40.0, 100.0, 102.0])
    monkeypatch.setattr("compressor.run.time.monotonic", lambda: next(clock))
    interrupt(run, "key")
    with run.writing("train", "key", ()):
        pass
    assert run.seconds() == {"train": 42.0}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"stages": 3}', '{"stages": {"train": {}}}', '{"stages": {"a": 1}}'],
)
def test_a_damaged_manifest_is_named_and_deleting_it_helps(run, text):
    (run.folder / LOCK).touch()
    finish(run, "train")
    (run.folder / MANIFEST).write_text(text)
    with pytest.raises(RunError, match=r"manifest.json is damaged. Delete it") as caught:
        Run(run.folder)
    assert "\n" not in str(caught.value)
    (run.folder / MANIFEST).unlink()
    assert Run(run.folder).seconds() == {}


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "photo.png").touch()
    with pytest.raises(RunError, match="holds train and is not a run directory.*--out"):
        Run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be made .*--out"):
        Run(tmp_path / place)


def test_a_place_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("compressor.run.write_json", refuse)
    with pytest.raises(RunError, match=r"cannot be made \(Permission denied\)"):
        Run(tmp_path / "run")


def test_two_runs_do_not_work_in_one_directory(run):
    code = (
        "import sys; from pathlib import Path; from compressor.run import Run\n"
        "with Run(Path(sys.argv[1])).locked(): pass"
    )
    command = [sys.executable, "-c", code, str(run.folder)]
    with run.locked():
        other = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "another run is working in this directory" in other.stderr
    after = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert after.returncode == 0


def test_the_lock_goes_with_its_holder(run):
    with pytest.raises(ValueError, match="gone"), run.locked():
        raise ValueError("gone")
    with run.locked():
        assert (run.folder / LOCK).is_file()


def test_events_are_logged_with_the_time_in_utc(run):
    run.log("stage", {"stage": "train"})
    run.log("epoch", {"loss": 0.5})
    events = [json.loads(line) for line in (run.folder / LOG).read_text().splitlines()]
    assert [event["event"] for event in events] == ["stage", "epoch"]
    assert events[1]["loss"] == 0.5
    assert all(event["time"].endswith("+00:00") for event in events)


def test_a_file_that_is_not_there_names_the_stage_to_run(run):
    finish(run, "strip")
    assert run.path("strip", "weights").is_file()
    with pytest.raises(RunError, match="plan.json: there is no such file.*compressor strip"):
        run.path("strip", "plan.json")


def test_what_another_process_finished_is_seen_after_reading_again(run):
    other = Run(run.folder)
    key = finish(run, "train")
    assert not other.is_done("train", key)
    other.reread()
    assert other.is_done("train", key)


def test_a_manifest_that_vanished_is_one_line(run):
    shutil.rmtree(run.folder)
    with pytest.raises(RunError, match="cannot be read: No such file"):
        run.reread()


def test_a_stage_that_came_out_otherwise_makes_the_stages_after_it_anew(run):
    finish(run, "train", text="one")
    tuned = finish(run, "tune", made_from=("train",))
    finish(run, "train", text="other")
    assert run.key(1, ("train",)) != tuned


@pytest.fixture
def timed(run):
    def finish_at(speed):
        with run.writing("train", run.key(1, ()), ()) as folder:
            (folder / "weights").write_text("same")
            (folder / "history.json").write_text(speed)
        return run.key(1, ("train",))

    return finish_at


def test_a_stage_that_came_out_the_same_at_another_speed_changes_nothing(timed):
    assert timed("fast") == timed("slow")

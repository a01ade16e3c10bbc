"""The dry run: what it finds, what it leaves alone, how it is printed."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from compressor.cli import main
from compressor.console import Console
from compressor.context import Shared
from compressor.dry_run import dry
from compressor.dry_run.dry import CHECKS, dry_run
from compressor.dry_run.findings import Finding, Findings
from compressor.errors import CheckError, ExportError, MissingExtra, RecipeError
from compressor.pipeline import Where
from compressor.recipe import find_recipe, load_recipe, shipped

SMALL = (
    "model.factory=models/plain.py:plain_net",
    "model.arguments.widths=[4, 8]",
    "strip.round_to=1",
)
SHARED = Shared()
"""The couplings are found once for all tests."""


def missing(module, package):
    raise MissingExtra(f"{package} is not installed.")


@pytest.fixture
def unexported(monkeypatch):
    """Leave out the check that takes longest, for tests of others."""
    kept = {name: check for name, check in dry.CHECKS.items() if name != "export"}
    monkeypatch.setattr(dry, "CHECKS", kept)


def run(*overrides, recipe="digits", told=str, **where):
    out = where.pop("out", Path("none"))
    return dry_run(
        load_recipe(find_recipe(recipe), (*SMALL, *overrides)),
        Where(
            out,
            Console(quiet=True),
            device="cpu",
            shared=SHARED,
            model_folders=(shipped("models").parent,),
            **where,
        ),
        told,
    )


def states(found):
    return {finding.check: finding.state for finding in found.all}


def lines(found, check):
    return "\n".join(next(finding.told for finding in found.all if finding.check == check))


def test_a_recipe_in_order_holds_in_all_and_nothing_is_written(tmp_path):
    found = run(out=tmp_path / "run")
    assert states(found) == dict.fromkeys(CHECKS, "holds")
    assert found.faults == []
    assert "1,295 training, 143 validation, 359 test images of 1 x 8 x 8" in lines(found, "data")
    assert "a training batch: 64 x 1 x 8 x 8" in lines(found, "data")
    assert "couplings can be removed" in lines(found, "network")
    assert "of the MACs; the floors alone keep" in lines(found, "budget")
    assert "ONNX Runtime gives what the network gives" in lines(found, "export")
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_in_the_directory_stays_as_it_is(tmp_path, unexported):
    (tmp_path / "manifest.json").write_text('{"stages": {}}')
    run(out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_text() == '{"stages": {}}'


def test_the_generator_of_the_program_is_left_alone(unexported):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run()
    assert torch.equal(torch.rand(3), expected)


def test_without_data_what_builds_on_it_is_skipped_and_engines_are_looked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path))
    found = run("data.source=mnist", told=lambda fault: f"HERE: {fault}")
    assert states(found) == {
        **{"recipe": "holds", "data": "fault", "network": "skipped", "budget": "skipped"},
        **{"export": "skipped", "engines": "holds"},
    }
    (fault,) = found.faults
    assert fault.startswith("HERE: data.source: mnist is not in ")
    assert "compressor data get mnist" in fault


def test_all_faults_are_told_at_once(unexported, monkeypatch):
    monkeypatch.setattr("compressor.stages.ready.import_engine", missing)
    found = run("strip.keep_macs=0.001")
    assert [states(found)[name] for name in ("budget", "engines")] == ["fault", "fault"]
    assert found.faults[0].startswith("strip.keep_macs: The budget keeps 0.001 of the MACs")
    assert found.faults[1] == "onnxruntime is not installed."
    with pytest.raises(RecipeError):
        found.check()


@pytest.mark.parametrize("stage", ["dense", "train", "tune"])
def test_a_batch_larger_than_the_data_is_found_in_each_stage(stage):
    found = run(f"{stage}.batch_size=5000")
    assert "There are 1295 training images and batch_size is 5000" in found.faults[0]


def test_an_epoch_that_the_search_has_not_is_found(unexported):
    found = run("strip={at_epoch=9}")
    assert found.faults == ["strip.at_epoch = 9: the search has 4 epochs. Name one of them."]


def test_an_engine_that_is_not_there_is_a_fault_of_the_machine(monkeypatch, unexported):
    monkeypatch.setattr("compressor.stages.ready.import_engine", missing)
    found = run()
    assert states(found)["engines"] == "fault"
    assert set(found.faults) == {"onnxruntime is not installed."}
    with pytest.raises(CheckError):
        found.check()


def test_engines_of_later_stages_are_not_asked_for(monkeypatch, unexported):
    monkeypatch.setattr(
        "compressor.stages.ready.import_engine", lambda *_: pytest.fail("not needed")
    )
    assert states(run(until="train"))["engines"] == "holds"


def test_an_export_that_fails_is_found(monkeypatch):
    def refuse(*_):
        raise ExportError("no such operator.")

    monkeypatch.setattr("compressor.dry_run.checks.export_onnx", refuse)
    found = run()
    assert found.faults == ["no such operator."]
    with pytest.raises(CheckError, match="no such operator"):
        found.check()


def test_a_budget_in_time_is_measured(unexported):
    found = run("strip={keep_latency=1.0}", "model.arguments.widths=[32, 64]")
    assert lines(found, "budget").startswith("strip.keep_latency = 1: 100.0% of the dense network")
    assert "; the floors take " in lines(found, "budget")


def test_a_budget_in_time_below_the_floors_is_a_fault(unexported):
    found = run("strip={latency_ms=1e-6}")
    assert found.faults[0].startswith("strip.latency_ms = 1e-06: the floors alone take")
    with pytest.raises(RecipeError):
        found.check()


def test_growing_is_checked_too(unexported):
    found = run("grow.ceiling_macs=0.01", recipe="digits-grow")
    assert states(found)["network"] == "fault"
    assert "ceiling_macs" in found.faults[0]


def test_what_two_checks_found_stands_once():
    found = Findings(
        "a",
        (
            Finding("budget", "fault", ("a.toml, line 3: strip.keep_latency: no engine.",)),
            Finding("engines", "fault", ("no engine.", "no GPU."), of_recipe=False),
        ),
    )
    assert found.faults == ["a.toml, line 3: strip.keep_latency: no engine.", "no GPU."]


def call(*words):
    small = [word for override in SMALL for word in ("--set", override)]
    return CliRunner().invoke(main, [*words, "--device", "cpu", "--quiet", *small])


def test_the_command_prints_a_row_for_each_check():
    table = call("run", "digits", "--dry-run")
    assert table.exit_code == 0
    assert [row.split()[0] for row in table.stdout.splitlines() if row[0] != " "] == list(CHECKS)


def test_the_record_says_of_each_check_what_came_of_it(unexported):
    record = json.loads(call("train", "digits", "--dry-run", "--json").stdout)
    assert (record["recipe"], record["holds"]) == ("digits", True)
    assert [check["check"] for check in record["checks"]] == [n for n in CHECKS if n != "export"]
    assert {check["state"] for check in record["checks"]} == {"holds"}
    assert all(check["told"] for check in record["checks"])


def test_the_command_tells_faults_on_standard_error_and_ends_with_two():
    result = call("grow", "digits-grow", "--dry-run", "--json", "--set", "dense.batch_size=5000")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["holds"] is False
    assert "batch_size is 5000" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["inspect", "bench", "build", "verify"])
def test_every_pipeline_command_takes_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(command, "digits", "--dry-run", "--set", "dense.batch_size=5000")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []

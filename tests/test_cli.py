import errno
import json
import os
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from compressor import pipeline
from compressor.cli import main
from compressor.commands.group import MACHINE_FAULTS
from compressor.commands.pipeline import STAGE_HELP
from compressor.couplings.coupling import Engine
from compressor.engines import ENGINES
from compressor.errors import CheckError, TrainError
from compressor.grow.settings import GrowSettings
from compressor.pipeline import STAGES
from compressor.recipe import shipped_recipes
from compressor.run import Run
from compressor.sparsity.catalog import METHODS


def call(*words):
    return CliRunner().invoke(main, words)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Record what the pipeline is asked for, in place of running it."""
    seen = []

    def run_recipe(recipe, where):
        seen.append((recipe, where))
        run = Run(tmp_path / "run")
        (run.folder / "summary.json").write_text('{"recipe": "digits"}\n')
        return run

    monkeypatch.setattr(pipeline, "run_recipe", run_recipe)
    return seen


def test_every_stage_is_a_command():
    assert {stage.name for stage in STAGES} == set(STAGE_HELP)
    assert set(STAGE_HELP) | {"run"} <= set(main.commands)


def test_every_option_reaches_the_pipeline(asked, tmp_path):
    words = ["--out", str(tmp_path / "out"), "--device", "cpu", "--seed", "7", "--resume"]
    result = call("run", "digits", *words, "--quiet", "--set", "train.lr=0.3", "--set", "name=n")
    recipe, where = asked[0]
    assert result.exit_code == 0
    assert (recipe.seed, recipe.train.lr, recipe.name) == (7, 0.3, "n")
    assert (where.out, where.device, where.resume) == (tmp_path / "out", "cpu", True)
    assert (where.console.quiet, where.until) == (True, None)


def test_without_options_the_defaults_hold(asked):
    call("run", "digits")
    recipe, where = asked[0]
    assert (recipe.seed, where.device, where.resume, where.console.quiet) == (
        0,
        "auto",
        False,
        False,
    )
    assert where.out.parent == Path("runs")
    assert where.model_folders[0] == shipped_recipes()["digits"].parent


def test_a_recipe_without_the_section_grows_by_the_defaults_of_it(asked):
    assert call("grow", "digits").exit_code == 0
    assert asked[0][0].grow == GrowSettings()


def test_a_recipe_that_grows_does_so_as_it_says(asked):
    assert call("grow", "digits-grow").exit_code == 0
    assert asked[0][0].grow.ceiling_macs == 0.5


@pytest.mark.parametrize("stage", STAGE_HELP)
def test_a_stage_command_runs_until_its_stage(asked, stage):
    call(stage, "digits")
    assert asked[0][1].until == stage


@pytest.mark.parametrize("command", ["run", "report"])
def test_json_is_the_summary_once_there_is_one(asked, command):
    assert json.loads(call(command, "digits", "--json").stdout) == {"recipe": "digits"}


def test_json_of_an_earlier_stage_is_not_an_old_summary(asked, tmp_path):
    result = call("strip", "digits", "--json")
    assert json.loads(result.stdout) == {"run": str(tmp_path / "run")}


def test_without_json_the_run_directory_is_printed(asked, tmp_path):
    assert call("run", "digits").stdout == f"{tmp_path / 'run'}\n"


def test_another_process_than_the_first_prints_nothing(asked, monkeypatch):
    monkeypatch.setattr(pipeline, "is_first_process", lambda: False)
    assert call("run", "digits", "--json").stdout == ""


def test_show_prints_the_whole_recipe(asked):
    shown = json.loads(call("show", "digits", "--set", "seed=3").stdout)
    assert (shown["seed"], shown["bench"]["rounds"]) == (3, 300)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", set(METHODS)),
        ("data", {"digits", "image-folder", "npz"}),
        ("recipes", set(shipped_recipes())),
        ("engines", set(ENGINES)),
        ("models", {"models/residual.py:residual_net", "models/plain.py:plain_net"}),
        ("models", {"torchvision:resnet18"}),
    ],
)
def test_list_names_what_there_is_in_text_and_in_json(what, names):
    listed = {row["name"] for row in json.loads(call("list", what, "--json").stdout)}
    lines = call("list", what).stdout.splitlines()
    text = {line.split()[0] for line in lines if not line.startswith(" ")}
    assert names <= listed
    assert text == listed


def test_methods_are_listed_with_levels_needs_paper_and_summary():
    (row,) = [
        r for r in json.loads(call("list", "methods", "--json").stdout) if r["name"] == "dense"
    ]
    assert list(row) == ["name", "levels", "needs", "paper", "summary"]
    text = call("list", "methods").stdout.split("\ndense\n")[1].splitlines()
    told = [line.split(maxsplit=1) for line in text[: len(row) - 1]]
    assert told == [[key, value] for key, value in row.items() if key != "name"]


def failing(monkeypatch, failure):
    def run_recipe(_recipe, _where):
        raise failure

    monkeypatch.setattr(pipeline, "run_recipe", run_recipe)


@pytest.mark.parametrize(("failure", "status"), [(TrainError, 1), (CheckError, 3)])
def test_a_known_fault_is_its_message_and_its_status(monkeypatch, failure, status):
    failing(monkeypatch, failure("what, where, what to do."))
    result = call("run", "digits")
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == "what, where, what to do.\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    failing(monkeypatch, ZeroDivisionError("ours"))
    assert isinstance(call("run", "digits").exception, ZeroDivisionError)


def test_an_unknown_fault_of_the_system_keeps_its_traceback(monkeypatch):
    failing(monkeypatch, OSError(errno.ENOTCONN, "?"))
    assert isinstance(call("run", "digits").exception, OSError)


@pytest.mark.parametrize("number", MACHINE_FAULTS)
def test_what_the_system_refuses_is_one_line_with_the_place(monkeypatch, number):
    failing(monkeypatch, OSError(number, os.strerror(number), "/runs/a/weights"))
    result = call("run", "digits", "--out", "/runs/a")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"/runs/a/weights: {os.strerror(number).lower()}. ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["run", "digits", "--out", "o"], "compressor run digits --out o --resume"),
        (["run", "digits", "--out=o", "--resume"], "compressor run digits --out=o --resume"),
        (
            ["run", "my recipe.toml", "--out", "o"],
            "compressor run 'my recipe.toml' --out o --resume",
        ),
    ],
)
def test_a_stop_tells_the_command_that_goes_on(monkeypatch, tmp_path, typed, told):
    failing(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr("sys.argv", ["compressor", *typed])
    (tmp_path / "my recipe.toml").write_text(shipped_recipes()["digits"].read_text())
    monkeypatch.chdir(tmp_path)
    result = call(*typed)
    assert result.exit_code == 1
    assert result.stderr == f"Stopped. Finished stages are kept; go on with: {told}\n"


def test_a_stop_in_a_new_directory_tells_which_it_was(monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr("sys.argv", ["compressor", "run", "digits"])
    assert "go on with: compressor run digits --out runs/digits-" in call("run", "digits").stderr


def test_a_stop_of_something_else_than_a_run_tells_no_command(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("compressor.data.catalog.get_data", stop)
    assert call("data", "get", "mnist").stderr == "Stopped.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "rnu"),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "digits", "--outt", "x"], "--outt"),
        (["run", "digits", "--seed", "x"], "--seed"),
        (["run", "digits", "--seed", "-1"], "--seed"),
        (["run", "digits", "--device", "tpu"], "'auto', 'cpu'"),
        (["run", "digits", "more"], "more"),
        (["list", "nets"], "nets"),
        (["data", "get"], "NAME"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_two(words, told):
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert "--help`" in result.stderr


def test_a_group_without_a_command_shows_its_help():
    result = call("data")
    assert result.exit_code == 2
    assert "get" in result.stderr + result.stdout


def test_resume_without_a_run_directory_is_refused():
    result = CliRunner().invoke(main, ["run", "digits", "--resume"])
    assert result.exit_code == 2
    assert "--resume needs --out" in result.stderr


def test_engines_of_the_command_line_are_those_of_the_recipe():
    (option,) = [p for p in main.commands["run"].params if p.name == "engine"]
    assert tuple(option.type.choices) == get_args(Engine)

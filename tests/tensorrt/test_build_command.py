"""``compressor build`` of a recipe or of a file: options that are for one of them."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from compressor.errors import MissingExtra
from compressor.tensorrt import module
from compressor.tensorrt.command import BuildCommand
from compressor.tensorrt.sidecar import sidecar_path

from .graphs import convolution


@pytest.fixture
def asked():
    return []


@pytest.fixture
def command(asked):
    """The command around one that keeps what it is asked of a recipe."""
    options = [
        click.Option(["--out"], type=click.Path(path_type=Path), help="Run directory."),
        click.Option(["--set", "overrides"], multiple=True, help="Override a setting."),
        click.Option(["--seed"], type=int, help="Override the seed."),
        click.Option(["--engine"], type=click.Choice(["both", "index-flow"]), help="What finds."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print as JSON."),
    ]
    callback = lambda **given: asked.append(given)  # noqa: E731
    of_recipes = click.Command(
        "build", params=[click.Argument(["recipe"]), *options], callback=callback, help="Build."
    )
    return BuildCommand(of_recipes)


def call(command, *words):
    return CliRunner().invoke(command, list(map(str, words)))


def test_of_a_recipe_the_pipeline_is_asked_with_its_own_options(command, asked):
    words = ("--seed", 3, "--set", "a=1", "--set", "b=2", "--engine", "both", "--out", "x")
    assert call(command, "digits", *words).exit_code == 0
    assert asked == [
        {
            **{"recipe": "digits", "out": Path("x"), "overrides": ("a=1", "b=2")},
            **{"seed": 3, "engine": "both", "as_json": False},
        }
    ]


def test_of_a_recipe_no_engine_is_chosen_unless_one_is_given(command, asked):
    call(command, "digits")
    assert asked[0]["engine"] is None


@pytest.mark.engines
def test_of_a_file_a_plan_is_built_and_no_recipe_run(command, asked, tmp_path):
    path, plan = convolution(tmp_path / "net.onnx"), tmp_path / "other.plan"
    words = ("--engine", "tensorrt-rtx", "--batch", "2,3,4", "--out", plan, "--json")
    done = call(command, path, *words, "--set", "tf32=false")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(sidecar_path(plan).read_text())
    assert not json.loads(done.stdout)["settings"]["tf32"]
    assert asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("net.onnx", "--seed", "3"), "--seed can only be given for recipes."),
        (("net.onnx", "--engine", "both"), "--engine both: of a file, give tensorrt or tensorrt-r"),
        (("digits", "--batch", "1,2,3"), "--batch can only be given for files such as model.onnx."),
        (
            ("digits", "--engine", "tensorrt-rtx"),
            "--engine tensorrt-rtx: of a recipe, give both or index-flow.",
        ),
        (("digits", "--engine", "cuda"), "'cuda' is not one of"),
    ],
)
def test_options_for_the_other_use_are_refused(command, asked, words, told):
    done = call(command, *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert asked == []


def test_of_a_file_the_engine_is_tensorrt_unless_another_is_given(command, tmp_path, monkeypatch):
    seen = []

    def refuse(flavour):
        seen.append(flavour)
        raise MissingExtra("not here")

    monkeypatch.setattr(module, "open_kit", refuse)
    path = convolution(tmp_path / "net.onnx")
    call(command, path)
    call(command, path, "--engine", "tensorrt-rtx")
    assert seen == ["tensorrt", "tensorrt-rtx"]


def test_help_explains_both_uses(command):
    shown = " ".join(call(command, "--help").stdout.split())
    assert "RECIPE | ONNX" in shown
    assert "Of a recipe: Run directory. Of a file: The plan; FILE.plan by default." in shown

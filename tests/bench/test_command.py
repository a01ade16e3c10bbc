import json

import click
import pytest
from click.testing import CliRunner

from compressor.bench.command import BenchCommand
from compressor.commands.group import Commands
from compressor.commands.pipeline import PipelineCommand


@pytest.fixture
def ran():
    """What the recipe's command was run with."""
    return []


@pytest.fixture
def invoke(ran):
    class OfRecipes(PipelineCommand):
        def invoke(self, ctx):
            ran.append(dict(ctx.params))

    group = Commands("compressor")
    group.add_command(BenchCommand(OfRecipes("bench", "Time dense against slim.", "bench")))
    return lambda *words: CliRunner().invoke(group, ["bench", *words])


QUICK = ("--rounds", "2", "--clock", "process", "--quiet")


def test_json_is_all_that_stands_on_standard_output(invoke, onnx_path):
    result = invoke(str(onnx_path), str(onnx_path), *QUICK, "--json")

    assert result.exit_code == 0
    assert [row["name"] for row in json.loads(result.stdout)["subjects"]] == [
        str(onnx_path),
        f"{onnx_path}#2",
    ]


def test_without_json_a_table_is_printed(invoke, onnx_path):
    result = invoke(str(onnx_path), *QUICK, "--batch", "3")

    assert result.exit_code == 0
    assert "p50" in result.stdout
    assert "Batch 3, 1 thread; clock process" in result.stdout


def test_a_recipe_goes_to_the_pipeline_with_its_options(invoke, ran):
    result = invoke("digits", "--seed", "3")

    assert result.exit_code == 0
    assert (ran[0]["recipe"], ran[0]["seed"]) == ("digits", 3)
    assert "batch_size" not in ran[0]
    assert "files" not in ran[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits", "--rounds", "3"), "--rounds can only be given for files"),
        (("model.onnx", "--seed", "3"), "--seed can only be given for recipes"),
        (("digits", "fashion"), "2 recipes were given, digits, fashion: give one"),
        (("a.onnx", "--clock", "process", "--threads", "2"), "give --threads 1"),
        (("a.onnx", "--rounds", "1"), "--rounds"),
        (("a.onnx", "--cuda-graph", "maybe"), "--cuda-graph"),
        (("digits", "--cuda-graph", "both"), "--cuda-graph can only be given for files"),
        ((), "Missing argument"),
    ],
)
def test_words_that_do_not_go_together_are_refused_in_one_line(invoke, words, message):
    result = invoke(*words)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_one_line(invoke):
    result = invoke("gone.onnx")

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "gone.onnx: there is no such file" in result.stderr


def test_every_option_of_files_says_so():
    command = BenchCommand(click.Command("bench", help="x"))

    assert all("files" in (o.help or "") for o in command.params if isinstance(o, click.Option))


@pytest.mark.parametrize("words", [("--clock", "cuda-events"), ("--cuda-graph", "both")])
def test_what_is_for_a_gpu_is_refused_for_files_on_the_cpu_in_one_line(invoke, onnx_path, words):
    result = invoke(str(onnx_path), *words)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "runs on the CPU" in result.stderr


def test_the_help_has_an_example_for_a_gpu(invoke):
    result = invoke("--help")

    assert "bench dense.plan slim.plan --clock cuda-events --cuda-graph both" in result.stdout

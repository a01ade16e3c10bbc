"""What every command says of itself: help, an example, JSON, and the nearest of known names."""

import json
import shlex

import click
import pytest
from click.testing import CliRunner

from compressor.cli import main


def call(*words):
    return CliRunner().invoke(main, words)


def commands(group=main, prefix=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))
        yield (*prefix, name), command


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_command_has_help(words):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.split("Options:")[0].splitlines()) >= 3


def test_every_option_of_every_command_has_help():
    options = [o for _, c in commands() for o in c.params if isinstance(o, click.Option)]
    assert options
    assert all(option.help for option in options)


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_help_ends_with_an_example_that_the_command_takes(words):
    command = dict(commands())[words]
    epilog = (command.epilog or "").replace("\b", "")
    head, *lines = [line for line in epilog.splitlines() if line]
    assert head in ("Example:", "Examples:")
    examples = [line.strip() for line in lines if line.startswith("  compressor ")]
    assert examples
    assert all(example in call(*words, "--help").stdout for example in examples)
    for example in examples:
        called = shlex.split(example)[1:]
        assert tuple(called[: len(words)]) == words
        # Raises where an option is not there, or its value is not one.
        assert command.make_context(" ".join(words), called[len(words) :])


@pytest.mark.parametrize(
    "words", [words for words, _ in commands() if words != ("data",)], ids=" ".join
)
def test_every_command_prints_json_if_asked_and_says_what(words):
    (option,) = [p for p in dict(commands())[words].params if "--json" in p.opts]
    assert option.is_flag
    assert len(option.help) >= len("Print as JSON.")


def test_the_first_help_has_an_example_too():
    assert "Examples:\n    compressor run digits\n" in call("--help").stdout


def test_show_takes_the_word_for_json_though_it_prints_nothing_else():
    assert call("show", "digits", "--json").stdout == call("show", "digits").stdout


def test_data_that_was_fetched_is_told_as_json(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path))
    monkeypatch.setattr("compressor.data.catalog.get_data", lambda *_: None)
    record = json.loads(call("data", "get", "mnist", "--json").stdout)
    assert record == {"name": "mnist", "folder": str(tmp_path / "mnist")}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean run?"),
        (["benhc"], "Did you mean bench?"),
        (["qqq"], "There are bench, build, "),
        (["data", "gte"], "Did you mean get?"),
        (["run", "digits", "--dryrun"], "--dry-run"),
        (["family", "x", "--size", "1"], "--sizes"),
        (["run", "digts"], "Did you mean digits?"),
        (["show", "digits", "--set", "trian.epochs=3"], "Did you mean train?"),
        (["run", "digits", "--set", "train.epoch=3"], "Did you mean epochs?"),
        (["show", "digits", "--set", "data.source=fashion-mist"], "did you mean 'fashion-mnist'"),
        (["show", "digits", "--set", "sparsity.method=magnitud"], "Did you mean magnitude?"),
        (["list", "recipe"], "'recipes'"),
        (["data", "get", "mnits"], "did you mean 'mnist'"),
    ],
)
def test_a_name_that_is_misspelt_gets_the_nearest(words, told):
    result = call(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1

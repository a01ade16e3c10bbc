"""The README's table of commands: each is understood, and has the options that its row names."""

import itertools
import re

import pytest

from compressor.cli import main

from .pages import PAGES
from .test_doc_commands import here as here
from .test_doc_commands import understood

PLACEHOLDERS = {
    **{"RECIPE": "digits", "RUN": "runs/digits", "MODEL": "torchvision:resnet18", "NAME": "digits"},
    **{"PACKAGE": "runs/digits/package", "TARGET": "shelf/digits", "FOLDER": "photos"},
    **{"FILES...": "runs/digits/export/model.onnx", "DIR": "runs/other"},
}
"""What stands in the README for words of one's own -> such a word."""

PACKAGE = ("verify", PLACEHOLDERS["PACKAGE"])

ROWS = [line for line in PAGES["README.md"].splitlines() if re.match(r"\| `compressor [a-z]", line)]
"""Of its table of commands."""


def written(row):
    """Every command in the first cell of ``row``, placeholders and alternatives filled in."""
    cell = row.removeprefix("| ").split(" | ")[0].replace(r"\|", "|")
    for command in re.findall(r"`compressor ([^`]+)`", cell):
        words = [PLACEHOLDERS.get(word, word) for word in command.split() if word != "..."]
        yield from itertools.product(*(word.split("|") for word in words))


def options_of(words):
    command = main
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_the_commands_of_the_readmes_table_are_understood_with_the_options_it_names(here, row):
    (here / "photos").mkdir()
    commands = list(written(row))
    assert commands
    # A package is told apart from a recipe by what lies there, when the command is run.
    assert all(understood(words) for words in commands if words != PACKAGE)
    named = set(re.findall(r"`(?:[^`]* )?(--[a-z-]+)", row))
    assert named - set().union(*map(options_of, commands)) == set()

"""The README is held against the project: commands, methods, data sets, targets, figures."""

import re
import tomllib

import pytest
from click.testing import CliRunner

from compressor.cli import main
from compressor.data.catalog import SOURCES
from compressor.recipe import check_recipe, shipped_recipes
from compressor.sparsity.catalog import METHODS

from .pages import ROOT, TABLES, blocks, commands

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_stands_in_the_readme_and_has_help(command):
    told = {word for line in re.findall(r"`compressor ([^`]+)`", README) for word in line.split()}
    assert command in {word for words in told for word in words.replace("\\", "").split("|")}
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_stands_in_the_table(method):
    assert re.search(rf"^\| `{method}` \| ", README, flags=re.MULTILINE)


@pytest.mark.parametrize("source", SOURCES)
def test_every_data_set_is_named(source):
    assert re.search(rf"\b{source}\b", README)


def test_it_opens_with_the_two_commands():
    assert commands(README)[:2] == ["make demo", "make test"]


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", README)) - {"it"}
    assert {"demo", "test", "docs"} <= named <= targets


def test_the_recipe_that_it_shows_is_valid():
    toml = blocks(README, "toml")[0]
    assert check_recipe(tomllib.loads(toml), "README.md").strip.keep_macs == 0.25


def test_every_shipped_recipe_that_it_runs_exists():
    named = set(re.findall(r"compressor run ([a-z][a-z0-9-]+)\s", README))
    assert named <= set(shipped_recipes())
    assert named


def test_every_file_that_it_links_exists():
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_comparison_is_the_table_that_the_tool_wrote():
    shown = re.search(r"<!-- compare -->\n(.*?)<!-- /compare -->", README, flags=re.DOTALL).group(1)
    written = TABLES["compare"].read_text(encoding="utf-8").splitlines()
    assert len(shown.splitlines()) == 9
    assert [line for line in shown.splitlines() if line not in written] == []


def test_no_figure_is_left_to_fill_in():
    assert not re.search(r"\b[A-Z]+_[A-Z]+\b", README.replace("COMPRESSOR_DATA", ""))

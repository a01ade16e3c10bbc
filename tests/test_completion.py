"""What the shell completes, through the scripts that click writes for it."""

import os
import subprocess
import sys

import pytest

from compressor.shipped import shipped_recipes

RUN = "from compressor.cli import main; main(prog_name='compressor')"


def asked(instruction, **variables):
    """What the command prints when a shell asks it, by the variables that its script sets."""
    environment = {**os.environ, "_COMPRESSOR_COMPLETE": instruction, **variables}
    return subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=60
    ).stdout


def completed(words, *, shell="zsh"):
    """What comes after ``words``, the last of which is not finished."""
    line = f"compressor {words}"
    last = len(line.split(" ")) - 1
    rows = asked(f"{shell}_complete", COMP_WORDS=line, COMP_CWORD=str(last)).splitlines()
    # A row each for the kind, the word and its help.
    return dict(zip(rows[1::3], rows[::3], strict=True))


@pytest.mark.parametrize(
    ("shell", "sign"),
    [
        ("bash", "complete -o nosort -F _compressor_completion compressor"),
        ("zsh", "#compdef compressor"),
        ("fish", "complete --no-files --command compressor"),
    ],
)
def test_each_shell_gets_a_script_that_asks_the_command(shell, sign):
    # Click asks bash for its version, which this machine may be without.
    script = asked(f"{shell}_source")
    assert sign in script
    assert f"_COMPRESSOR_COMPLETE={shell}_complete" in script


def test_commands_are_completed():
    assert set(completed("in")) == {"init", "inspect"}


@pytest.mark.parametrize("command", ["run", "show", "train", "grow"])
def test_recipes_are_completed(command):
    wanted = {name for name in shipped_recipes() if name.startswith("digits-g")}
    assert set(completed(f"{command} digits-g")) == wanted
    assert len(wanted) > 1


def test_the_recipe_of_a_transfer_is_completed_after_its_run():
    assert "digits-random" in completed("transfer runs/demo digits-r")


def test_what_begins_no_recipe_is_taken_for_a_file():
    assert completed("run ./mi") == {"./mi": "file"}


def test_options_and_their_choices_are_completed():
    assert "--dry-run" in completed("run digits --d")
    assert set(completed("run digits --device c")) == {"cpu"}


@pytest.mark.parametrize("words", ["data get fashion", "transfer runs/demo digits --to fashion"])
def test_data_sets_are_completed(words):
    assert set(completed(words)) == {"fashion-mnist"}


def test_completing_a_recipe_loads_no_heavy_library():
    script = (
        "import sys, compressor.cli as c\n"
        "from compressor.completion import complete_recipe\n"
        "assert complete_recipe(None, None, 'dig')\n"
        "print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"

"""What ends a run: whether it is the recipe's, and of which of its keys."""

from pathlib import Path

import pytest

from compressor.console import Console
from compressor.dry_run import faults
from compressor.dry_run.faults import of_recipe
from compressor.errors import BudgetError, DataError, ModelError, RecipeError, RunError, TrainError
from compressor.pipeline import Where
from compressor.recipe import find_recipe, load_recipe


def told(failure, out=Path("none"), *overrides):
    recipe = load_recipe(find_recipe("digits"), overrides)
    found = of_recipe(failure, recipe, Where(out, Console(quiet=True)), lambda line: f"AT {line}")
    assert isinstance(found, RecipeError | None)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (DataError("gone."), "AT data.source: gone."),
        (ModelError("no such file."), "AT model.factory: no such file."),
        (BudgetError("too little."), "AT strip.keep_macs: too little."),
        (BudgetError("target.engine = x is slow."), "AT target.engine = x is slow."),
        (ModelError("one.\ntwo."), "AT model.factory: one.\nAT model.factory: two."),
    ],
)
def test_a_fault_of_data_network_or_budget_has_the_place_of_its_key(failure, expected):
    assert told(failure) == expected


@pytest.mark.parametrize("failure", [RunError("locked."), TrainError("the loss is nan.")])
def test_what_else_ends_a_run_is_not_the_recipes(failure):
    assert told(failure) is None


def test_what_this_machine_lacks_is_not_the_recipes(monkeypatch):
    def lacks(_recipe):
        raise ModelError("no GPU.")

    monkeypatch.setattr(faults, "check_here", lacks)
    assert told(ModelError("no GPU.")) is None
    assert told(ModelError("no such file.")) == "AT model.factory: no such file."


def test_once_the_network_was_inspected_a_file_made_of_it_is_not_the_recipes(digits_copy):
    rounds = ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")
    failure = ModelError("The package does not hold by itself.")
    assert told(failure, digits_copy.folder, *rounds) is None
    other = "model.arguments.widths=[4, 8]"
    assert told(failure, digits_copy.folder, *rounds, other).startswith("AT model.factory: The p")

import pytest

from compressor.files import read_json
from compressor.recipe import load_recipe, shipped_recipes

RECIPES = shipped_recipes()


def test_there_are_recipes_and_digits_is_one():
    assert "digits" in RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_loads_and_is_named_like_its_file(name):
    assert load_recipe(RECIPES[name]).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_says_in_its_first_line_what_it_is(name):
    assert RECIPES[name].read_text(encoding="utf-8").startswith("# ")


def test_digits_runs_whole_and_is_good_at_it(digits_run):
    summary = read_json(digits_run.folder / "summary.json")
    assert summary["dense"]["accuracy"] > 0.95
    assert summary["slim"]["accuracy"] > summary["dense"]["accuracy"] - 0.03
    assert summary["slim"]["macs"] <= 0.3 * summary["dense"]["macs"]

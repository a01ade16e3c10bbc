"""Runs that are opened again."""

from pathlib import Path

import pytest

from compressor.errors import RunError
from compressor.files import write_json
from compressor.opened import open_run
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run


@pytest.fixture
def folder(tmp_path):
    run = Run(tmp_path / "run")
    recipe = load_recipe(find_recipe("digits"), ("seed=3",))
    write_json(run.folder / "settings.json", recipe.model_dump(mode="json"))
    return run.folder


def test_a_run_is_opened_with_its_recipe_and_the_folders_of_its_network(folder):
    write_json(folder / "places.json", {"model_folders": ["/a", "/b"]})
    opened = open_run(folder)
    assert (opened.run.folder, opened.recipe.seed) == (folder, 3)
    assert opened.model_folders == (Path("/a"), Path("/b"))


def test_a_run_from_before_folders_were_noted_looks_where_it_is_started(folder):
    assert open_run(folder).model_folders == (Path(),)


@pytest.mark.parametrize("missing", ["manifest.json", "settings.json"])
def test_what_lacks_a_head_is_no_run_and_nothing_is_made_there(folder, missing):
    (folder / missing).unlink()
    before = sorted(folder.iterdir())
    with pytest.raises(RunError, match="is not a run directory. Name one that `compressor run`"):
        open_run(folder)
    assert sorted(folder.iterdir()) == before

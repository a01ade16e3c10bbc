"""Slices of runs that were stopped, that grew, or whose network's file was edited since."""

import io
import shutil

import pytest

from compressor.console import Console
from compressor.errors import BudgetError, RunError
from compressor.files import read_json
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe, shipped
from compressor.run import Run
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe
from compressor.structure import NEVER

SMALL = ("model.arguments.widths=[8, 12]", "tune.epochs=1", "dense.epochs=1", "strip.round_to=1")
SMALL += ("strip.engine=index-flow", "train.epochs=3")


def searched(folder, base, *overrides, model_folder=None):
    recipe = load_recipe(find_recipe(base), (*SMALL, *overrides))
    folders = (model_folder or folder.parent,)
    console = Console(stream=io.StringIO())
    run_recipe(recipe, Where(folder, console, "cpu", model_folders=folders, until="train"))
    return folder


def sliced(folder, size, out, *overrides):
    source, stream = Source.open(folder), io.StringIO()
    recipe = sliced_recipe(source.recipe, size, 0, overrides)
    where = Where(out, Console(stream=stream), "cpu", until="strip")
    return slice_run(source, recipe, where), stream.getvalue()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    return searched(folder, "digits", "stop={rule='budget'}", "strip.keep_macs=0.3")


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown") / "run"
    wider = ("model.arguments.widths=[16, 32]", "strip.round_to=4", "train.epochs=6")
    return searched(folder, "digits-grow", "grow.round_epochs=1", *wider)


def test_a_run_that_its_budget_stopped_is_sliced_to_another(stopped, tmp_path):
    run, said = sliced(stopped, Size("keep_macs", 0.5), tmp_path / "half")
    assert "train: done before" in said
    counts = read_json(run.path("strip", "counts.json"))
    assert 0.45 <= counts["slim"]["macs"] / counts["dense"]["macs"] <= 0.5
    # A slice is a run like any other, which can be sliced again.
    again, said = sliced(run.folder, Size("keep_macs", 0.4), tmp_path / "less")
    assert "train: done before" in said
    assert again.path("strip", "plan.json").is_file()


def test_a_slice_of_a_grown_run_says_how_many_of_its_units_were_never_grown(grown, tmp_path):
    share = Source.open(grown).grown_share
    assert 0.1 < share < 1
    run, said = sliced(grown, Size("keep_macs", 0.7 * share), tmp_path / "less")
    assert "train: done before" in said
    counts = read_json(run.path("strip", "counts.json"))
    assert counts["slim"]["macs"] <= 0.7 * share * counts["dense"]["macs"]
    had = read_json(Run(grown).path("train", "structure.json"))["keep"]
    kept = read_json(run.path("strip", "structure.json"))["keep"]
    new = sum(len(set(kept[name]["kept"]) - set(had[name]["kept"])) for name in kept)
    assert (f"{new} units of this size were never grown" in said) is bool(new)


def test_more_than_was_grown_is_refused_with_how_much_that_is(grown, tmp_path):
    share = Source.open(grown).grown_share
    with pytest.raises(BudgetError, match=f"the grown network has {share:.4f} of the MACs"):
        sliced(grown, Size("keep_macs", min(1.0, 1.1 * share)), tmp_path / "more")


def test_an_override_that_growing_depends_on_is_refused(grown, tmp_path):
    with pytest.raises(RunError, match=r"stage train would be done again.*was overridden"):
        sliced(grown, Size("keep_macs", 0.05), tmp_path / "x", "strip.round_to=1")
    assert not (tmp_path / "x").exists()


def test_an_edited_network_is_not_trained_in_a_slice(tmp_path):
    places = tmp_path / "mine"
    places.mkdir()
    shutil.copy(shipped("models") / "residual.py", places / "residual.py")
    factory = "model.factory=residual.py:residual_net"
    folder = searched(tmp_path / "run", "digits", factory, "train.epochs=2", model_folder=places)
    assert Source.open(folder).path.last_entry != NEVER
    with (places / "residual.py").open("a") as file:
        file.write("\n# Edited.\n")
    with pytest.raises(RunError, match=r"stage dense would be done again.*file of its network"):
        sliced(folder, Size("keep_macs", 0.5), tmp_path / "half")
    assert not (tmp_path / "half").exists()

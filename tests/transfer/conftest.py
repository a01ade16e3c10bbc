"""A small run on the digits 0 to 4, and contexts of other tasks for its network."""

import io

import numpy as np
import pytest

from compressor.console import Console
from compressor.context import Context
from compressor.data.catalog import data_root
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.transfer.origin import Origin

SMALL = (
    "model.arguments.widths=[8, 12]",
    "train.epochs=1",
    "tune.epochs=2",
    "tune.norm_batches=2",
    "strip.keep_macs=0.5",
    "strip.round_to=1",
    "strip.engine=index-flow",
)
LOW = "data.classes=[0, 1, 2, 3, 4]"
HIGH = "data.classes=[5, 6, 7, 8, 9]"


def recipe_of(*overrides):
    return load_recipe(find_recipe("digits"), (*SMALL, *overrides))


@pytest.fixture(name="recipe_of", scope="session")
def fixture_recipe_of():
    return recipe_of


@pytest.fixture(scope="session")
def low_run(tmp_path_factory):
    """The run, done up to ``tune``; not to be written to."""
    folder = tmp_path_factory.mktemp("runs") / "low"
    where = Where(folder, Console(stream=io.StringIO()), "cpu", until="tune")
    run_recipe(recipe_of(LOW), where)
    return folder


@pytest.fixture(scope="session")
def origin(low_run):
    return Origin.open(low_run)


@pytest.fixture(scope="session")
def high():
    """The new task: the other digits."""
    return recipe_of(HIGH)


@pytest.fixture
def make_context(tmp_path):
    """What the stages of a recipe's run share."""

    def make(recipe):
        folders, console = (tmp_path,), Console(stream=io.StringIO())
        run = Run(tmp_path / "new")
        return Context(recipe, run, console, "cpu", data_root(), folders, False, True)

    return make


@pytest.fixture
def save_images(tmp_path):
    """Write random images of a shape in three classes, and give the settings that name them."""

    def save(*shape):
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (60, *shape), dtype=np.uint8)
        path = tmp_path / "own.npz"
        np.savez(path, images=images, labels=np.arange(60) % 3)
        return ('data.source="npz"', f'data.path="{path}"')

    return save

"""One stripped run of the smallest recipe, from which tickets are made."""

import io
import shutil

import pytest
import torch

from compressor.console import Console
from compressor.context import Shared
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe, shipped
from compressor.run import Run
from compressor.tasks.model import ModelSettings, build_model

SHORT = ("train.epochs=2", "tune.epochs=1", "dense.epochs=1", "model.arguments={widths=[8, 16]}")
"""Overrides that make the recipe ``digits`` a matter of a second or two."""


SHARED = Shared()
"""Couplings are the same in all of these runs."""


def run_digits(folder, *overrides, until="strip", resume=False):
    """Run the recipe ``digits``, shortened, in ``folder``; what was said."""
    recipe = load_recipe(find_recipe("digits"), (*SHORT, *overrides))
    stream = io.StringIO()
    console = Console(stream=stream)
    run_recipe(recipe, Where(folder, console, "cpu", resume=resume, until=until, shared=SHARED))
    return stream.getvalue()


@pytest.fixture(scope="session")
def stripped_run(tmp_path_factory):
    """A run that keeps the weights found; not to be written to."""
    folder = tmp_path_factory.mktemp("tickets") / "run"
    run_digits(folder, "ticket.weights=rewind-to-epoch-1")
    return folder


@pytest.fixture
def stripped_copy(stripped_run, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(stripped_run, tmp_path / "run")


@pytest.fixture
def digits_in(stripped_run):
    """Run the recipe ``digits``, shortened: ``(folder, *overrides)``; what is no search is taken
    over from ``stripped_run``."""

    def run(folder, *overrides, **where):
        if not folder.exists():
            Run(folder).take_over(Run(stripped_run), ("inspect", "dense"))
        return run_digits(folder, *overrides, **where)

    return run


@pytest.fixture
def searched_from():
    """Make the network as the search of ``run_digits`` starts from it."""

    def build(widths=(8, 16)):
        factory = "models/residual.py:residual_net"
        settings = ModelSettings(factory=factory, arguments={"widths": list(widths)})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_model(settings, 10, 1, (shipped("models").parent,))

    return build

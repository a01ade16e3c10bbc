"""What tests of several folders need: one whole run of the smallest recipe."""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from compressor.console import Console
from compressor.couplings.trace import trace
from compressor.data.catalog import DataSettings, load_data
from compressor.data.source import ImageData, Split
from compressor.pipeline import Where, run_recipe
from compressor.recipe import Recipe, find_recipe, load_recipe, shipped
from compressor.sparsity.base import Horizon
from compressor.sparsity.catalog import METHODS
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.tasks.classification import Classification, TaskSettings
from compressor.tasks.model import ModelSettings, build_model
from compressor.tasks.task import TaskLoss
from compressor.train.loop import Job, steps_per_epoch
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

QUICK_BENCH = ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done: its folder, its recipe, and what was said meanwhile."""

    folder: Path
    recipe: Recipe
    said: str


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The recipe ``digits``, run whole; not to be written to."""
    recipe = load_recipe(find_recipe("digits"), QUICK_BENCH)
    folder, stream = tmp_path_factory.mktemp("runs") / "digits", io.StringIO()
    run_recipe(recipe, Where(out=folder, console=Console(stream=stream), device="cpu"))
    return FinishedRun(folder, recipe, stream.getvalue())


@pytest.fixture
def digits_copy(digits_run, tmp_path):
    """A copy of ``digits_run`` that a test may change."""
    folder = tmp_path / "digits"
    shutil.copytree(digits_run.folder, folder)
    return FinishedRun(folder, digits_run.recipe, digits_run.said)


WIDTHS = {"residual": [4, 6], "plain": [4, 6]}


@pytest.fixture(scope="session")
def digits():
    """The digits, their validation images cut out."""
    return load_data(DataSettings(source="digits"), Path(), seed=0)


@pytest.fixture(scope="session")
def make_net():
    """Make a tiny network for digits, always the same one: ``residual`` or ``plain``."""

    def make(kind="residual"):
        factory = f"models/{kind}.py:{kind}_net"
        settings = ModelSettings(factory=factory, arguments={"widths": WIDTHS[kind]})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_model(settings, 10, 1, (shipped("models").parent,))

    return make


@pytest.fixture
def make_job(digits, make_net):
    """Make a short training job on digits; keywords are those of ``TrainSettings``."""

    def make(task=None, epochs=2, **settings):
        task, model = task or Classification(digits, TaskSettings()), make_net()
        nothing = Dense(DenseSettings(), Horizon(num_steps=0, path_time=0.0, seed=0))
        return Job(
            stage="train",
            model=model,
            task=task,
            objective=TaskLoss(task),
            sparsifier=nothing,
            couplings=trace(model, task.example(2)),
            settings=TrainSettings(epochs=epochs, **settings),
            seed=0,
        )

    return make


@pytest.fixture(scope="session")
def toy_data():
    """84 training images of 8 x 8 in three classes, each a pattern with noise."""
    patterns = np.random.default_rng(0).integers(0, 160, (3, 1, 8, 8))

    def split(num_images, seed):
        draw, labels = np.random.default_rng(seed), np.arange(num_images) % 3
        noise = draw.integers(0, 90, (num_images, 1, 8, 8))
        return Split((patterns[labels] + noise).astype(np.uint8), labels.astype(np.int64))

    return ImageData(
        "toy", split(84, 1), split(12, 2), split(12, 3), ("a", "b", "c"), (0.4,), (0.2,)
    )


@pytest.fixture(scope="session")
def toy_task(toy_data):
    """Classification of the toy images."""
    return Classification(toy_data, TaskSettings())


@pytest.fixture(scope="session")
def toy_net():
    """Make a tiny network for toy images: ``residual`` (batch norm) or ``plain`` (none)."""

    def make(kind="residual", num_classes=3):
        factory = f"models/{kind}.py:{kind}_net"
        settings = ModelSettings(factory=factory, arguments={"widths": [4, 6]})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_model(settings, num_classes, 1, (shipped("models").parent,))

    return make


@pytest.fixture(scope="session")
def toy_couplings(toy_net, toy_task):
    """Couplings of each tiny network."""
    example = toy_task.example(2)
    return {kind: trace(toy_net(kind), example) for kind in ("residual", "plain")}


@pytest.fixture
def toy_job(toy_net, toy_couplings, toy_task):
    """Make a job of ten steps in two epochs unless said otherwise; the method by its settings."""

    def make(sparsity=None, net="residual", task=toy_task, **settings):
        sparsity = sparsity or DenseSettings()
        defaults = {"epochs": 2, "batch_size": 16, "lr": 0.05, "warmup_epochs": 0.5}
        train_settings = TrainSettings(**{**defaults, **settings})
        per_epoch = steps_per_epoch(task, train_settings)
        num_steps = train_settings.epochs * per_epoch
        horizon = Horizon(
            num_steps,
            path_time(train_settings, per_epoch),
            seed=3,
            num_epochs=train_settings.epochs,
        )
        return Job(
            stage="train",
            model=toy_net(net),
            task=task,
            objective=TaskLoss(task),
            sparsifier=METHODS[sparsity.method].build(sparsity, horizon),
            couplings=toy_couplings[net],
            settings=train_settings,
            seed=3,
        )

    return make


@pytest.fixture(scope="session")
def same():
    """Whether two nested states are equal to the last bit; how fast they came is left out."""

    def compare(a, b):
        if isinstance(a, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, dict):
            keys = [key for key in a if key != "images_per_second"]
            return a.keys() == b.keys() and all(compare(a[key], b[key]) for key in keys)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(compare, a, b))
        return a == b

    return compare

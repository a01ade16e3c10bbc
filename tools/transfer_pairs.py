"""The pairs of tasks: how the run of each is made, and the recipe of the new task."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from imagenet import WEIGHTS, fetch
from PIL import Image

from compressor.console import Console
from compressor.context import Context
from compressor.couplings.coupling import named_tensors, unit_norms
from compressor.data.catalog import SOURCES, data_root
from compressor.data.classes import only_classes
from compressor.data.source import Split
from compressor.data.split import shuffled
from compressor.files import sha256, whole_file, write_json
from compressor.pipeline import Given, Where, run_recipe
from compressor.recipe import Recipe, find_recipe, load_recipe
from compressor.stages.training import write_training
from compressor.structure import Path as UnitsPath
from compressor.train.device import Device

ROOT = Path(__file__).resolve().parent.parent
IMAGENET = ROOT / "runs" / "imagenet"
FOLDERS = (Path(),)
LAST_STAGE = "tune"
"""Of the runs: a transfer reads nothing that comes later."""

NETWORK = ("model.factory=models/residual.py:residual_net",)
BENCH = ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")


@dataclass(frozen=True)
class How:
    """How a pair is made.

    Attributes:
        device: ``auto`` takes a GPU where there is one.
        images: Training images of each task, or None for all; the pair with real weights has its
            own few.
    """

    device: Device = "auto"
    images: int | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """What it changes of a recipe."""
        return () if self.images is None else (f"data.train_images={self.images}",)


@dataclass(frozen=True)
class Pair:
    """One pair.

    Attributes:
        name: On the command line, and of its folder.
        title: For people.
        text: What is special, for people.
        make_run: Makes the run in a folder, where it is not done, and gives the folder.
        recipe: Of the new task; the folder of the pair is for its data.
    """

    name: str
    title: str
    text: str
    make_run: Callable[[Path, How], Path]
    recipe: Callable[[Path, How], Recipe]


def _recipe(base: str, *overrides: str) -> Recipe:
    return load_recipe(find_recipe(base), (*overrides, *BENCH))


def _run(recipe: Recipe, where: Where) -> Path:
    return run_recipe(recipe, where).folder


def _where(folder: Path, how: How) -> Where:
    console, last = Console(), LAST_STAGE
    return Where(folder, console, how.device, resume=True, model_folders=FOLDERS, until=last)


# MNIST -> Fashion-MNIST

GREY = (*NETWORK, "model.arguments={ widths = [16, 32, 64], stem_stride = 2 }")


def _mnist_run(folder: Path, how: How) -> Path:
    epochs = ("train.epochs=2", "tune.epochs=3")
    data = ("name=mnist", "data.source=mnist", *how.overrides)
    return _run(_recipe("fashion-mnist", *GREY, *data, *epochs), _where(folder, how))


def _fashion(folder: Path, how: How) -> Recipe:
    del folder
    return _recipe("fashion-mnist", *GREY, *how.overrides, "tune.epochs=5", "dense.augment=none")


# CIFAR-10 animals -> vehicles

COLOUR = (
    *NETWORK,
    "model.arguments={ widths = [16, 32, 64] }",
    *(f"{stage}.precision=fp32" for stage in ("train", "tune", "dense")),
)
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
VEHICLES = ("airplane", "automobile", "ship", "truck")


def _classes(names: tuple[str, ...]) -> str:
    return f"data.classes={list(names)}"


def _animals_run(folder: Path, how: How) -> Path:
    epochs = ("train.epochs=4", "tune.epochs=6")
    data = ("name=cifar10-animals", _classes(ANIMALS), *how.overrides)
    return _run(_recipe("cifar10-resnet20", *COLOUR, *data, *epochs), _where(folder, how))


def _vehicles(folder: Path, how: How) -> Recipe:
    del folder
    data = ("name=cifar10-vehicles", _classes(VEHICLES), *how.overrides)
    taught = ("tune.epochs=10", "tune.teacher_weight=0.5")
    return _recipe("cifar10-resnet20", *COLOUR, *data, *taught)


# ImageNet -> CIFAR-10 vehicles at 96 pixels, MobileNetV2

SIZE = 96
NUM_CLASSES = 1000
NUM_TRAIN, NUM_TEST = 1600, 800
MOBILE = ("model.factory=torchvision:mobilenet_v2", "model.arguments={}", "data.source=npz")


def _imagenet_run(folder: Path, how: How) -> Path:
    """The given weights; units ranked by the norms of their filters, and no image trained on."""
    fetch(IMAGENET)
    images = folder.parent / "imagenet-20.npz"
    if not images.is_file():
        _save_samples(images)
    recipe = _recipe(
        "digits",
        *MOBILE,
        f"data.path={images}",
        "data.validation_share=0.5",
        "name=imagenet-mobilenet-v2",
        f"model.weights={IMAGENET / WEIGHTS}",
        "sparsity.method=magnitude",
        "strip.keep_macs=0.5",
        "strip.round_to=8",
        "tune.epochs=0",
        "tune.norm_batches=0",
        "tune.batch_size=16",
    )
    ranked = Given(_rank, ["filter norms", sha256(IMAGENET / WEIGHTS)])
    return _run(recipe, replace(_where(folder, how), given={"train": ranked}))


def _rank(context: Context, folder: Path) -> None:
    """In the place of a search: filter norms over their coupling's mean, of the given weights."""
    model, couplings = context.fresh_model(), context.couplings
    norms = {c.name: unit_norms(named_tensors(model), c.of_kind("filter")) for c in couplings.free}
    path = UnitsPath.of_scores("magnitude", {name: n / n.mean() for name, n in norms.items()})
    write_training(context, folder, model, [], {"images": 0, "teacher_images": 0})
    write_json(folder / "structure.json", couplings.everything().to_json())
    write_json(folder / "path.json", path.to_json())


def _save_samples(path: Path) -> None:
    """20 labelled images; each twice for training, since one of each class is held out."""
    images, labels = [], []
    for file in sorted((IMAGENET / "foolbox" / "data").glob("imagenet_*.jpg")):
        with Image.open(file) as image:
            images.append(np.asarray(image.convert("RGB").resize((SIZE, SIZE))))
        labels.append(int(file.stem.rpartition("_")[2]))
    pixels, numbers = np.stack(images).transpose(0, 3, 1, 2), np.array(labels)
    train = Split(np.repeat(pixels, 2, axis=0), np.repeat(numbers, 2))
    test = Split(np.ascontiguousarray(pixels), numbers)
    _save(path, train, test, [str(number) for number in range(NUM_CLASSES)])


def _mobile(folder: Path, how: How) -> Recipe:
    del how
    data = folder / "vehicles-96.npz"
    if not data.is_file():
        raw = only_classes(SOURCES["cifar10"].load(data_root() / "cifar10"), VEHICLES, "cifar10")
        train, test = _enlarged(raw.train, NUM_TRAIN), _enlarged(raw.test, NUM_TEST)
        _save(data, train, test, list(raw.classes))
    stages = ("dense", "tune")
    return _recipe(
        "digits",
        *MOBILE,
        f"data.path={data}",
        "name=vehicles-96",
        # A dense network from scratch knows too little after so few images to teach.
        "tune.teacher_weight=0.0",
        "tune.epochs=4",
        "tune.norm_batches=20",
        # Three times as much made the given weights diverge.
        *(f"{stage}.lr=0.01" for stage in stages),
        *(f"{stage}.batch_size=32" for stage in stages),
        *(f"{stage}.warmup_epochs=0.5" for stage in stages),
        "task.augment=flip",
    )


def _enlarged(split: Split, num_images: int) -> Split:
    """So many images, the same every time, each pixel repeated up to ``SIZE``."""
    some = split.take(shuffled(len(split), seed=0)[:num_images])
    scale = SIZE // some.images.shape[-1]
    return Split(some.images.repeat(scale, axis=2).repeat(scale, axis=3), some.labels)


def _save(path: Path, train: Split, test: Split, classes: list[str]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            train_images=train.images,
            train_labels=train.labels,
            test_images=test.images,
            test_labels=test.labels,
            classes=np.array(classes),
        )


PAIRS = {
    pair.name: pair
    for pair in (
        Pair(
            "mnist-fashion",
            "MNIST -> Fashion-MNIST",
            "A residual network of 16, 32 and 64 channels; DessiLBI on MNIST, a quarter of the "
            "MACs.",
            _mnist_run,
            _fashion,
        ),
        Pair(
            "cifar10-classes",
            "CIFAR-10, six animals -> four vehicles",
            "A residual network of 16, 32 and 64 channels; DessiLBI on the animals, a quarter of "
            "the MACs.",
            _animals_run,
            _vehicles,
        ),
        Pair(
            "imagenet-cifar10",
            "ImageNet -> CIFAR-10 vehicles at 96 pixels, MobileNetV2",
            "Real ImageNet weights. There is no search on ImageNet: units are ranked by the norms "
            "of their filters, which needs no data, and half of the MACs stay; nothing is tuned "
            "before the new task.",
            _imagenet_run,
            _mobile,
        ),
    )
}

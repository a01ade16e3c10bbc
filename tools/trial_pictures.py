"""A folder of pictures that nobody prepared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.data.source import Split

COUNTS = (300, 250, 220, 200, 200, 200, 200, 180, 150, 100)
"""Pictures of each class."""

SIDES = (96, 180)
"""Pixels of the width; the height is 0.8 to 1.25 of it."""

OF_MODES = 20
"""One picture in so many is grey, and one has transparency."""

GREY, CLEAR, PLAIN_PNG = 3, 5, 7
SEED = 0


def make_folder(folder: Path, split: Split, classes: Sequence[str]) -> dict[str, int]:
    """Write the pictures; how many there are of each kind.

    Args:
        folder: Not there yet.
        split: Square colour pictures.
        classes: Their names; the first have most pictures.
    """
    random = np.random.default_rng(SEED)
    counts = {"pictures": 0, "grey": 0, "with transparency": 0, "unreadable": 2, "other files": 2}
    for number, (name, wanted) in enumerate(zip(classes, COUNTS, strict=True)):
        (folder / name).mkdir(parents=True)
        for place, index in enumerate(np.flatnonzero(split.labels == number)[:wanted]):
            pixels = split.images[index].transpose(1, 2, 0)
            width = int(random.integers(*SIDES))
            size = width, int(width * random.uniform(0.8, 1.25))
            picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
            counts["pictures"] += 1
            _save(picture, folder / name / f"IMG_{place:04d}", place % OF_MODES, counts)
    broken = sorted((folder / classes[0]).glob("*.jpg"))[:2]
    broken[0].write_bytes(broken[0].read_bytes()[:900])
    broken[1].write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / classes[1] / "notes.txt").write_text("sort these", encoding="utf-8")
    return counts


def _save(picture: Image.Image, stem: Path, kind: int, counts: dict[str, int]) -> None:
    if kind == GREY:
        picture, counts["grey"] = picture.convert("L"), counts["grey"] + 1
    if kind == CLEAR:
        picture = picture.convert("RGBA")
        counts["with transparency"] += 1
    if kind in (GREY, CLEAR, PLAIN_PNG):
        picture.save(stem.with_suffix(".png"))
    else:
        picture.save(stem.with_suffix(".jpg"), quality=90)

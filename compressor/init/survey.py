"""What lies in a folder of pictures, before any of them is decoded."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from compressor.data.folder import LabelledFile, Listing, list_images
from compressor.data.pictures import DECODE_ERRORS
from compressor.errors import DataError

SAMPLE = 200
"""Files whose size is read."""


@dataclass(frozen=True)
class Survey:
    """A folder of pictures.

    Attributes:
        listing: Its files.
        counts: Pictures of each class, broken ones too.
        shorter_side: Median of a sample, in pixels.
        shapes: How many pictures of the sample have another width than height.
        sampled: Files of the sample whose size could be read.
    """

    listing: Listing
    counts: dict[str, int]
    shorter_side: int
    shapes: int
    sampled: int

    @property
    def num_pictures(self) -> int:
        """Of all classes."""
        return sum(self.counts.values())

    @property
    def uneven(self) -> float:
        """How many times as many pictures the largest class has as the smallest."""
        return max(self.counts.values()) / min(self.counts.values())


def survey(folder: Path) -> Survey:
    """Look at ``folder`` as ``image-folder`` will.

    Raises:
        DataError: It has no two class folders with pictures, or no size can be read.
    """
    listing = list_images(folder)
    files = (*listing.train, *listing.test)
    labels = Counter(file.label for file in files)
    sizes = [size for file in spread(files, SAMPLE) if (size := _size(file.path)) is not None]
    if not sizes:
        raise DataError(f"{folder}: no size of {len(files)} pictures can be read. Mend the files.")
    return Survey(
        listing=listing,
        counts={name: labels[number] for number, name in enumerate(listing.classes)},
        shorter_side=int(np.median([min(size) for size in sizes])),
        shapes=sum(width != height for width, height in sizes),
        sampled=len(sizes),
    )


def spread(files: Sequence[LabelledFile], number: int) -> list[LabelledFile]:
    """At most ``number`` of ``files``, evenly over their order, and so over the classes."""
    places = np.linspace(0, len(files) - 1, min(number, len(files))).astype(int)
    return [files[place] for place in places]


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except DECODE_ERRORS:
        return None

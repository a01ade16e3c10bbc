"""What every data source gives: labelled images as arrays, checked once, when they are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor.console import Console
from compressor.errors import DataError

Images = NDArray[np.uint8]
"""Pixels 0 .. 255, shape ``(num_images, channels, height, width)``."""

Labels = NDArray[np.int64]
"""Class numbers from 0, shape ``(num_images,)``."""

Statistics = tuple[float, ...]
"""One number per channel, for images scaled to [0, 1]."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, image ``i`` with label ``i``.

    Attributes:
        images: uint8, shape ``(num_images, channels, height, width)``.
        labels: int64, shape ``(num_images,)``.

    Raises:
        DataError: A dtype or a shape is not as said, or there is no image.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        _check_array("images", self.images, np.dtype(np.uint8), num_dims=4)
        _check_array("labels", self.labels, np.dtype(np.int64), num_dims=1)
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images)} images stand beside {len(self.labels)} labels: "
                "give one label for each image."
            )
        if self.images.size == 0:
            raise DataError(f"Images of shape {self.images.shape} hold nothing: give some.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Copy of the images and labels at ``indices``, in that order."""
        return Split(self.images[indices], self.labels[indices])


class TrainTest(NamedTuple):
    """The two splits that a data set comes with."""

    train: Split
    test: Split


@dataclass(frozen=True, eq=False)
class RawData:
    """A data set as it comes: training and test images, before a validation split is cut.

    Attributes:
        train: Training images.
        test: Test images, of the same shape.
        classes: Name of each class; label ``i`` is ``classes[i]``.
        mean: Mean of each channel, for images scaled to [0, 1].
        std: Standard deviation of each channel, > 0, for images scaled to [0, 1].
        notices: What a person should know of what was left out, a sentence each.

    Raises:
        DataError: A label is outside ``[0, len(classes))``, or the shapes do not agree.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: Statistics
    std: Statistics
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        splits = {"training": self.train, "test": self.test}
        _check_set(splits, self.classes, self.mean, self.std)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set ready for use: the validation images were cut out of the training images.

    Attributes:
        name: Name of its source in the catalog.
        train: Images to train on.
        validation: Images to choose by, held out of the training set.
        test: Images to report on, never trained on and never chosen by.
        classes: Name of each class; label ``i`` is ``classes[i]``.
        mean: Mean of each channel, for images scaled to [0, 1].
        std: Standard deviation of each channel, > 0, for images scaled to [0, 1].
        notices: What a person should know of what was left out, a sentence each.

    Raises:
        DataError: A label is outside ``[0, num_classes)``, or the shapes do not agree.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: Statistics
    std: Statistics
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        splits = {"training": self.train, "validation": self.validation, "test": self.test}
        _check_set(splits, self.classes, self.mean, self.std)

    @property
    def num_classes(self) -> int:
        """How many classes the labels tell apart."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


class Source(Protocol):
    """Where a data set comes from: one entry of the catalog."""

    @property
    def name(self) -> str:
        """Name in the catalog and in recipes."""

    @property
    def description(self) -> str:
        """What it holds, in one line."""

    @property
    def licence(self) -> str:
        """Under which terms the images are given."""

    @property
    def size_note(self) -> str:
        """How much is fetched and kept, in words."""

    @property
    def takes_path(self) -> bool:
        """True where the data is the user's own and a recipe must name its ``path``."""

    def get(self, folder: Path, console: Console, /) -> None:
        """Fetch the data into ``folder``; do nothing where it is already there and whole.

        Raises:
            DataError: No way to fetch it worked; the message lists each way and its failure.
        """

    def load(self, folder: Path, /) -> RawData:
        """Read the data from ``folder``; never download.

        Raises:
            DataError: It is not there (the message says how to get it), or it is broken.
        """


def check_labels(labels: Labels, num_classes: int, where: str) -> None:
    """Refuse a label outside ``[0, num_classes)``; ``where`` opens the message.

    Raises:
        DataError: With the first such label and its place.
    """
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        place = int(outside[0])
        raise DataError(
            f"{where}: label {labels[place]} of image {place} is outside 0 .. {num_classes - 1} "
            f"({num_classes} classes): number the classes from 0."
        )


def _check_array(
    what: str, array: NDArray[np.generic], dtype: np.dtype[np.generic], num_dims: int
) -> None:
    if array.dtype != dtype or array.ndim != num_dims:
        raise DataError(
            f"The {what} are {array.dtype} of shape {array.shape}: "
            f"give {dtype}, number of dimensions {num_dims}."
        )


def _check_set(
    splits: dict[str, Split], classes: tuple[str, ...], mean: Statistics, std: Statistics
) -> None:
    shape = splits["training"].images.shape[1:]
    for name, split in splits.items():
        check_labels(split.labels, len(classes), f"{name} labels")
        if split.images.shape[1:] != shape:
            raise DataError(
                f"The {name} images have shape {split.images.shape[1:]}, the training images "
                f"{shape}: give all images one shape (channels, height, width)."
            )
    if not len(mean) == len(std) == shape[0]:
        raise DataError(
            f"{len(mean)} means and {len(std)} deviations stand beside images of {shape[0]} "
            "channels: give one of each per channel."
        )
    if min(std) <= 0:
        channel = std.index(min(std))
        raise DataError(
            f"Channel {channel} has the same value in every training image: "
            "leave it out, it tells nothing."
        )

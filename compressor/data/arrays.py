"""Arrays in files: the sources ``npz`` and ``idx``, for data that the user has already."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.console import Console
from compressor.data.idx import read_idx_pair
from compressor.data.source import Images, Labels, RawData, Split, TrainTest, check_labels
from compressor.data.split import cut_fixed_test
from compressor.data.statistics import channel_statistics
from compressor.errors import DataError

CHANNEL_COUNTS = (1, 3, 4)
"""What may be a channel dimension: grey, colour, colour and one more."""

MOST_CLASSES = 100_000
"""Larger labels are taken for something else than class numbers."""

SINGLE_KEYS = ("images", "labels")
PAIR_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
CLASSES_KEY = "classes"

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Npz:
    """Arrays in one ``.npz`` file; where it holds no test images, a fixed fifth is cut off."""

    name = "npz"
    description = (
        "arrays in an .npz file: images and labels (a fifth of each class is then cut off as "
        "test set, the same every time), or train_images, train_labels, test_images, test_labels"
    )
    licence = "your own"
    size_note = "nothing is fetched; all images are held in memory"
    takes_path = True

    def get(self, _folder: Path, _console: Console) -> None:
        """Refuse: there is nothing to fetch."""
        raise nothing_to_get(self.name)

    def load(self, folder: Path) -> RawData:
        """Read the file ``folder``."""
        arrays = read_npz(folder)
        pair = pair_of(arrays, folder)
        return own_data(pair, folder, _class_names(arrays, folder))


@dataclass(frozen=True)
class IdxFolder:
    """A folder with four IDX files of grey images, named like those of MNIST."""

    name = "idx"
    description = (
        "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz"
    )
    licence = "your own"
    size_note = "nothing is fetched; all images are held in memory"
    takes_path = True

    def get(self, _folder: Path, _console: Console) -> None:
        """Refuse: there is nothing to fetch."""
        raise nothing_to_get(self.name)

    def load(self, folder: Path) -> RawData:
        """Read the four files of ``folder``."""
        return own_data(read_idx_pair(folder), folder, classes=None)


def nothing_to_get(name: str) -> DataError:
    """The answer to fetching the user's own data."""
    return DataError(
        f"{name} is data of your own, there is nothing to get: "
        "name its place with `path` in the recipe."
    )


def own_data(pair: TrainTest, place: Path, classes: tuple[str, ...] | None) -> RawData:
    """Raw data of the user's arrays, with their statistics; classes without names get numbers.

    Raises:
        DataError: A label is outside the classes, or the arrays do not fit together.
    """
    if classes is None:
        classes = tuple(str(number) for number in range(int(pair.train.labels.max()) + 1))
    check_labels(pair.train.labels, len(classes), f"{place}: training labels")
    check_labels(pair.test.labels, len(classes), f"{place}: test labels")
    mean, std = channel_statistics(pair.train.images)
    try:
        return RawData(pair.train, pair.test, classes, mean, std)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def read_npz(path: Path) -> Arrays:
    """All arrays of an ``.npz`` file by their keys; nothing is unpickled.

    Raises:
        DataError: The file cannot be read, is not ``.npz``, or holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file: set `path` to an .npz file.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file: write one with numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): write it again with numpy.savez, "
            "from arrays of numbers."
        ) from error


def pair_of(arrays: Arrays, path: Path) -> TrainTest:
    """Training and test images among the arrays of ``path``; a test set is cut if there is none.

    Raises:
        DataError: A key is missing, or an array does not hold images or labels.
    """
    if all(key in arrays for key in PAIR_KEYS):
        return TrainTest(
            _split_of(arrays, "train_images", "train_labels", path),
            _split_of(arrays, "test_images", "test_labels", path),
        )
    if all(key in arrays for key in SINGLE_KEYS):
        return cut_fixed_test(_split_of(arrays, *SINGLE_KEYS, path))
    raise DataError(
        f"{path} holds the keys {', '.join(arrays) or '(none)'}: "
        f"give {', '.join(SINGLE_KEYS)} or {', '.join(PAIR_KEYS)}."
    )


def to_images(array: NDArray[np.generic], where: str) -> Images:
    """Bring images to ``(num_images, channels, height, width)``.

    Args:
        array: uint8, shape ``(num_images, height, width)``, the same with channels second, or
            the same with channels last; where both would do, channels are second.
        where: Opens the message of an error.

    Raises:
        DataError: Another type or shape.
    """
    if array.dtype != np.uint8:
        raise DataError(
            f"{where} are {array.dtype}: store pixels as uint8 from 0 to 255; "
            "values in [0, 1] become (255 * images).round().astype('uint8')."
        )
    images = array.view(np.uint8)
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNEL_COUNTS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNEL_COUNTS:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise DataError(
        f"{where} have shape {array.shape}: give (images, height, width), or with 1, 3 or 4 "
        "channels (images, channels, height, width) or (images, height, width, channels)."
    )


def to_labels(array: NDArray[np.generic], where: str) -> Labels:
    """Bring labels to int64 of shape ``(num_images,)``; a column of labels is taken too.

    Raises:
        DataError: Labels that are not whole numbers, or have another shape.
    """
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where} are {array.dtype}: store class numbers as integers from 0.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where} have shape {array.shape}: give one class number for each image.")
    return array.astype(np.int64)


def _split_of(arrays: Arrays, images_key: str, labels_key: str, path: Path) -> Split:
    images = to_images(arrays[images_key], f"{path}: {images_key}")
    labels = to_labels(arrays[labels_key], f"{path}: {labels_key}")
    # Before anything counts per class: that needs labels >= 0 and takes memory up to the largest.
    check_labels(labels, MOST_CLASSES, f"{path}: {labels_key}")
    try:
        return Split(images, labels)
    except DataError as error:
        raise DataError(f"{path}: {images_key} and {labels_key}: {error}") from error


def _class_names(arrays: Arrays, path: Path) -> tuple[str, ...] | None:
    if CLASSES_KEY not in arrays:
        return None
    names = arrays[CLASSES_KEY]
    if names.ndim != 1 or not np.issubdtype(names.dtype, np.str_):
        raise DataError(
            f"{path}: {CLASSES_KEY} are {names.dtype} of shape {names.shape}: "
            "give an array of class names."
        )
    return tuple(str(name) for name in names)

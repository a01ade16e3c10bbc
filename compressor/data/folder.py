"""``image-folder``: the user's own pictures, one folder per class, decoded once into an array."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.console import Console
from compressor.data.arrays import nothing_to_get
from compressor.data.source import Images, RawData, Split
from compressor.data.split import FIXED_TEST_SEED, FIXED_TEST_SHARE, hold_out
from compressor.data.statistics import channel_statistics
from compressor.errors import DataError
from compressor.files import fingerprint, whole_file

IMAGE_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
TRAIN_FOLDER = "train"
TEST_FOLDERS = ("test", "val")
"""The first of these that is there holds the test images."""

DEEP_MODES = ("I", "F")
"""Pillow's names for more than 8 bits per channel begin so."""

DECODE_ERRORS = (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError)
"""What Pillow's decoders raise on broken files, found by feeding them such files."""

CACHE_VERSION = 1
"""Goes up when images are decoded differently, so that old caches are not read."""


class LabelledFile(NamedTuple):
    """An image file and its class number."""

    path: Path
    label: int


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Attributes:
        classes: Names of the class folders, sorted.
        train: Files to train on.
        test: Files to report on.
    """

    classes: tuple[str, ...]
    train: tuple[LabelledFile, ...]
    test: tuple[LabelledFile, ...]


@dataclass(frozen=True)
class ImageFolder:
    """Pictures in class folders, resized to squares, always with three channels.

    Attributes:
        image_size: Width and height of the images, in pixels.
        cache: Folder for the decoded images; safe to delete, it is filled again.
    """

    image_size: int | None = None
    cache: Path | None = None

    name = "image-folder"
    description = (
        "pictures in class folders (a fifth of each class is then cut off as test set, the same "
        "every time), or in class folders under train/ and test/ (or val/)"
    )
    licence = "your own"
    size_note = "nothing is fetched; the decoded images are kept on disk, 3 bytes a pixel"
    takes_path = True

    def get(self, _folder: Path, _console: Console) -> None:
        """Refuse: there is nothing to fetch."""
        raise nothing_to_get(self.name)

    def load(self, folder: Path) -> RawData:
        """Decode the images of ``folder``, or map them from the cache of an earlier time."""
        if self.image_size is None or self.cache is None:
            raise DataError(f"{self.name} needs `image_size`: set it in pixels, for example 64.")
        listing = list_images(folder)
        files = (*listing.train, *listing.test)
        images = decoded(files, self.image_size, self.cache)
        labels = np.array([file.label for file in files], dtype=np.int64)
        cut = len(listing.train)
        train = Split(images[:cut], labels[:cut])
        mean, std = channel_statistics(train.images)
        return RawData(train, Split(images[cut:], labels[cut:]), listing.classes, mean, std)


def list_images(folder: Path) -> Listing:
    """Find the classes and the image files of a folder.

    With ``train/`` and one of ``test/``, ``val/`` in it, the class folders lie in those;
    otherwise they lie in ``folder`` itself and a fixed fifth of each class is the test set.

    Raises:
        DataError: Fewer than two classes, a class without images, or test classes that are not
            those of training.
    """
    test_folder = _test_folder(folder)
    if test_folder is None:
        classes = _class_names(folder)
        return _cut(classes, _labelled_files(folder, classes))
    train_folder = folder / TRAIN_FOLDER
    classes = _class_names(train_folder)
    unlike = sorted(set(classes) ^ set(_class_names(test_folder)))
    if unlike:
        raise DataError(
            f"The class {unlike[0]!r} is in only one of {train_folder} and {test_folder.name}: "
            "give both the same class folders."
        )
    return Listing(
        classes, _labelled_files(train_folder, classes), _labelled_files(test_folder, classes)
    )


def decode(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode an image, turned upright and resized without keeping its aspect.

    Returns:
        Red, green and blue, shape ``(3, size, size)``.

    Raises:
        DataError: The file cannot be decoded, or has more than 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                raise DataError(
                    f"{path} has more than 8 bits per channel (mode {image.mode}): "
                    "convert it to 8 bits."
                )
            upright = ImageOps.exif_transpose(image).convert("RGB")
            square = upright.resize((size, size), Image.Resampling.BILINEAR)
    except DECODE_ERRORS as error:
        raise DataError(
            f"{path} cannot be read as an image ({error}): mend or remove it."
        ) from error
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def decoded(files: tuple[LabelledFile, ...], size: int, cache: Path) -> Images:
    """Images of ``files`` in their order, mapped from a file in ``cache`` that is made if needed.

    The file's name follows the names, sizes and times of change of all files: when one of them
    changes, all are decoded anew.

    Returns:
        Shape ``(num_files, 3, size, size)``. Writing to it does not reach the disk.

    Raises:
        DataError: An image cannot be decoded, or the file in the cache is broken.
    """
    path = cache / f"{_fingerprint(files, size)}.npy"
    if not path.is_file():
        _write_images(path, (len(files), 3, size, size), (decode(f.path, size) for f in files))
    try:
        # Copy on write: PyTorch warns about arrays that it may not write to.
        images: Images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is broken ({error}): delete it, it is made again.") from error
    return images


def _test_folder(folder: Path) -> Path | None:
    if not (folder / TRAIN_FOLDER).is_dir():
        return None
    there = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    return there[0] if there else None


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: set `path` to a folder of class folders.")
    folders = (path for path in folder.iterdir() if path.is_dir())
    names = tuple(sorted(path.name for path in folders if not path.name.startswith(".")))
    if len(names) < 2:
        raise DataError(
            f"The number of class folders in {folder} is {len(names)}: give two or more, "
            "each with the images of one class."
        )
    return names


def _labelled_files(folder: Path, classes: tuple[str, ...]) -> tuple[LabelledFile, ...]:
    files = []
    for label, name in enumerate(classes):
        found = _images_below(folder / name)
        if not found:
            raise DataError(
                f"{folder / name} holds no image ({' '.join(IMAGE_SUFFIXES)}): "
                "add some, or remove the folder."
            )
        files += [LabelledFile(path, label) for path in found]
    return tuple(files)


def _images_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _cut(classes: tuple[str, ...], files: tuple[LabelledFile, ...]) -> Listing:
    labels = np.array([file.label for file in files], dtype=np.int64)
    rest, held = hold_out(labels, FIXED_TEST_SHARE, FIXED_TEST_SEED)
    if not held.size:
        raise DataError(
            f"{files[0].path.parent} and the other classes hold one image each: "
            "give two or more, so that some can be kept for the test."
        )
    return Listing(
        classes,
        tuple(files[index] for index in np.sort(rest)),
        tuple(files[index] for index in np.sort(held)),
    )


def _fingerprint(files: tuple[LabelledFile, ...], size: int) -> str:
    facts = []
    for path, _label in files:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return fingerprint({"version": CACHE_VERSION, "image_size": size, "files": facts})


def _write_images(path: Path, shape: tuple[int, ...], images: Iterator[NDArray[np.uint8]]) -> None:
    """Write a ``.npy`` file one image at a time; a full disk is then an error, not a crash."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            file.write(image.tobytes())

"""``image-folder``: the user's own pictures, one folder per class, as nobody prepared them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compressor.console import Console
from compressor.data.arrays import nothing_to_get
from compressor.data.pictures import Broken, Decoded, Form, Resize, decoded
from compressor.data.source import Labels, RawData, Split
from compressor.data.split import FIXED_TEST_SEED, FIXED_TEST_SHARE, hold_out
from compressor.data.statistics import channel_statistics
from compressor.errors import DataError

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
TEST_FOLDERS = ("test", "val", "valid", "validation")
"""The first of these that is there holds the test images."""

SPLIT_NAMES = frozenset({TRAIN_FOLDER, "training", *TEST_FOLDERS, "testing", "dev", "eval"})
"""Folders that are called so, in whatever capitals, are hardly classes if all are."""

FOREIGN_FOLDERS = ("__MACOSX", "@eaDir")
"""Left behind by archives and by network storage; never a class."""

MAX_NAMED = 5
"""Files that a notice names; it says how many more there are."""


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
        notices: What of the folder was left out, a sentence each.
        test_folder: Name of the folder of the test files; None where they were cut off.
    """

    classes: tuple[str, ...]
    train: tuple[LabelledFile, ...]
    test: tuple[LabelledFile, ...]
    notices: tuple[str, ...] = ()
    test_folder: str | None = None


@dataclass(frozen=True)
class ImageFolder:
    """Pictures in class folders, resized to squares, always with three channels.

    Attributes:
        image_size: Width and height of the images, in pixels.
        cache: Folder for the decoded images; safe to delete, it is filled again.
        resize: How a picture becomes a square.
        broken: What happens to files that cannot be read.
    """

    image_size: int | None = None
    cache: Path | None = None
    resize: Resize = "stretch"
    broken: Broken = "refuse"

    name = "image-folder"
    description = (
        "pictures in class folders (a fifth of each class is then cut off as test set, the same "
        "every time), or in class folders under train/ and test/ (or val/, valid/, validation/)"
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
        form = Form(self.image_size, self.resize)
        found = decoded([file.path for file in files], form, self.broken, self.cache)
        labels = np.array([file.label for file in files], dtype=np.int64)[found.kept]
        cut = int((found.kept < len(listing.train)).sum())
        _check_classes(labels[:cut], listing, found)
        train = Split(found.images[:cut], labels[:cut])
        test = Split(found.images[cut:], labels[cut:])
        mean, std = channel_statistics(train.images)
        notices = (*listing.notices, *_told("file", "cannot be used", found.broken))
        return RawData(train, test, listing.classes, mean, std, notices)


def _check_classes(labels: Labels, listing: Listing, found: Decoded) -> None:
    """Refuse data of whose training images a class has none among ``labels``."""
    counts = np.bincount(labels, minlength=len(listing.classes))
    if counts.all():
        return
    label = int(counts.argmin())
    lost = np.setdiff1d(np.arange(len(listing.train)), found.kept)
    # Those of the test files follow in ``broken``.
    why = next(
        why
        for place, why in zip(lost, found.broken, strict=False)
        if listing.train[place].label == label
    )
    raise DataError(
        f"No training image of the class {listing.classes[label]!r} can be read, for example: "
        f"{why}. Mend its files, or remove the folder."
    )


def _told(what: str, why: str, names: Sequence[str]) -> tuple[str, ...]:
    """One notice that names the first of ``names``; none where there are none."""
    if not names:
        return ()
    rest = len(names) - MAX_NAMED
    named = "; ".join(names[:MAX_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
    return (f"{len(names)} {what}{'s' if len(names) > 1 else ''} left out that {why}: {named}.",)


def list_images(folder: Path) -> Listing:
    """Find the classes and the image files of a folder.

    With ``train/`` and one of ``test/``, ``val/``, ``valid/``, ``validation/`` in it, the class
    folders lie in those; otherwise they lie in ``folder`` itself and a fixed fifth of each class is
    the test set.

    Raises:
        DataError: Fewer than two classes, a class without images, test classes that are not those
            of training, folders that are all called like parts of a data set and not as above, or
            a name that is not UTF-8.
    """
    test_folder = _test_folder(folder)
    if test_folder is None:
        classes = _class_names(folder)
        _refuse_splits(folder, classes)
        return _cut(classes, _labelled_files(folder, classes), strangers(folder))
    train_folder = folder / TRAIN_FOLDER
    classes = _class_names(train_folder)
    unlike = sorted(set(classes) ^ set(_class_names(test_folder)))
    if unlike:
        raise DataError(
            f"The class {unlike[0]!r} is in only one of {train_folder} and {test_folder.name}: "
            "give both the same class folders."
        )
    return Listing(
        classes,
        _labelled_files(train_folder, classes),
        _labelled_files(test_folder, classes),
        (*strangers(folder), *_unused(folder, test_folder.name)),
        test_folder.name,
    )


def strangers(folder: Path) -> tuple[str, ...]:
    """What lies in ``folder`` and is not used, in one notice; hidden files are nobody's business.

    That are files of other kinds, counted by suffix, and pictures beside the class folders.
    """
    places = [folder, *(folder / name for name in (TRAIN_FOLDER, *TEST_FOLDERS))]
    loose, others = 0, Counter[str]()
    for path in _shown_files(folder):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            others[path.suffix.lower() or "no suffix"] += 1
        elif path.parent == folder or (path.parent in places and _test_folder(folder)):
            loose += 1
    found = [f"{number} {suffix}" for suffix, number in others.most_common(MAX_NAMED)]
    found += [f"{loose} pictures that lie in no class folder"] if loose else []
    return (f"Files left out in {folder}: {', '.join(found)}.",) if found else ()


def _test_folder(folder: Path) -> Path | None:
    if not (folder / TRAIN_FOLDER).is_dir():
        return None
    there = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    return there[0] if there else None


def _unused(folder: Path, test_folder: str) -> tuple[str, ...]:
    """One notice of the folders beside those of training and test; none where there are none."""
    others = [name for name in _folder_names(folder) if name not in (TRAIN_FOLDER, test_folder)]
    if not others:
        return ()
    return (
        f"Folders left out in {folder}: {', '.join(others)}. {TRAIN_FOLDER} holds the training "
        f"images and {test_folder} the test images.",
    )


def _refuse_splits(folder: Path, classes: Sequence[str]) -> None:
    if all(name.lower() in SPLIT_NAMES for name in classes):
        raise DataError(
            f"{folder} holds {', '.join(classes)}, which are parts of a data set and not classes: "
            f"call them {TRAIN_FOLDER} and {' or '.join(TEST_FOLDERS)}, or the classes otherwise."
        )


def _folder_names(folder: Path) -> list[str]:
    folders = [path for path in folder.iterdir() if path.is_dir() and _is_shown(path.name)]
    return sorted(_utf8(path).name for path in folders)


def _utf8(path: Path) -> Path:
    """``path``, which recipes and reports can be written with.

    Raises:
        DataError: Its name is not UTF-8, as on disks that were written by old systems.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as failure:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise DataError(f"{shown}: this name is not UTF-8. Rename it.") from failure
    return path


def _class_names(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: set `path` to a folder of class folders.")
    names = tuple(_folder_names(folder))
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
    return sorted(path for path in _shown_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)


def _shown_files(folder: Path) -> Iterable[Path]:
    return (
        _utf8(path)
        for path in folder.rglob("*")
        if path.is_file() and all(map(_is_shown, path.relative_to(folder).parts))
    )


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name not in FOREIGN_FOLDERS


def _cut(
    classes: tuple[str, ...], files: tuple[LabelledFile, ...], notices: tuple[str, ...]
) -> Listing:
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
        notices,
    )

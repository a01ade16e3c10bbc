"""Some classes of a data set, as a data set of their own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compressor.data.source import RawData, Split
from compressor.errors import DataError
from compressor.overrides import did_you_mean

ClassName = str | int
"""A class by its name, or by its number from 0."""

LEAST_CLASSES = 2
"""Of a single class there is nothing to learn."""

MAX_NAMED = 20
"""Classes that a message lists; it says how many more there are."""


def only_classes(raw: RawData, wanted: Sequence[ClassName], source: str) -> RawData:
    """``raw`` with the images of the ``wanted`` classes alone, labels numbered in their order.

    Mean and deviation stay those of the whole set: they say how images are scaled, and slices of
    one set are then fed alike.

    Args:
        raw: The data set.
        wanted: Names or numbers of its classes, two or more.
        source: Its name, for messages.

    Raises:
        DataError: A class is unknown or named twice, or a split has no image of the classes.
    """
    numbers = [_number(name, raw.classes, source) for name in wanted]
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            raise DataError(
                f"data.classes names the class {raw.classes[number]!r} of {source} twice. "
                "Name it once."
            )
    new_label = np.full(len(raw.classes), -1, dtype=np.int64)
    new_label[numbers] = np.arange(len(numbers))
    train, test = (_only(split, new_label) for split in (raw.train, raw.test))
    return replace(raw, train=train, test=test, classes=tuple(raw.classes[n] for n in numbers))


def _number(name: ClassName, classes: Sequence[str], source: str) -> int:
    if isinstance(name, int):
        if not 0 <= name < len(classes):
            raise DataError(
                f"data.classes: {source} has no class {name}. Its {len(classes)} classes are "
                f"numbered from 0 to {len(classes) - 1}."
            )
        return name
    if name not in classes:
        hint = did_you_mean(name, classes) or f"There are {_listed(classes)}."
        raise DataError(f"data.classes: {source} has no class {name!r}. {hint}")
    return classes.index(name)


def _listed(classes: Sequence[str]) -> str:
    rest = len(classes) - MAX_NAMED
    return ", ".join(classes[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _only(split: Split, new_label: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Split:
    labels = new_label[split.labels]
    places = np.flatnonzero(labels >= 0)
    return Split(split.images[places], labels[places])

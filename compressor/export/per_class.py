"""Right answers of two networks, class by class, on the same images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compressor.tasks.task import Predict

Guesses = NDArray[np.int64]
"""The class with the largest logit of each image, shape ``(images,)``."""


class Noting:
    """Predicts as ``predict`` does, and keeps what it guessed, in the order of the images."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._guesses: list[Guesses] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits of ``inputs``, shape ``(images, classes)``."""
        logits = self._predict(inputs)
        self._guesses.append(logits.argmax(dim=1).cpu().numpy())
        return logits

    def guesses(self) -> Guesses:
        """Those of all calls, one after the other."""
        return np.concatenate(self._guesses)


def count_classes(
    classes: Sequence[str], labels: NDArray[np.int64], dense: Guesses, slim: Guesses
) -> list[dict[str, Any]]:
    """How many images of each class the two networks get right, alone and both.

    The counts are paired: from them follow the four cells of dense right or wrong against slim
    right or wrong, which an interval of the change needs.

    Args:
        classes: Names; label ``i`` is ``classes[i]``.
        labels: Shape ``(images,)``.
        dense: Guesses of the dense network, of the same images in the same order.
        slim: Guesses of the slim one.

    Returns:
        One row a class, in their order: ``name``, ``images``, ``dense_right``, ``slim_right``,
        ``both_right``.
    """
    assert labels.shape == dense.shape == slim.shape
    dense_right, slim_right = dense == labels, slim == labels
    columns = {
        "images": np.ones_like(dense_right),
        "dense_right": dense_right,
        "slim_right": slim_right,
        "both_right": dense_right & slim_right,
    }
    counts = {
        key: np.bincount(labels[chosen], minlength=len(classes)) for key, chosen in columns.items()
    }
    return [
        {"name": name} | {key: int(count[label]) for key, count in counts.items()}
        for label, name in enumerate(classes)
    ]

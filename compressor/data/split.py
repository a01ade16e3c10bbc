"""Cutting a set of labelled images in two, evenly over the classes and the same every time."""

import random

import numpy as np
from numpy.typing import NDArray

from compressor.data.source import Labels, Split, TrainTest

Indices = NDArray[np.int64]

FIXED_TEST_SHARE = 0.2
"""Share of each class that becomes the test set where a data set comes without one."""

FIXED_TEST_SEED = 0
"""The cut of such a test set never follows the run's seed: all runs report on the same images."""


def shuffled(num_items: int, seed: int) -> Indices:
    """Indices ``0 .. num_items - 1`` in an order that depends on ``seed`` alone.

    Sorting by draws of ``random.Random.random`` keeps the order the same over releases: Python
    promises that sequence, while NumPy may change its permutations.
    """
    generator = random.Random(seed)
    draws = np.array([generator.random() for _ in range(num_items)])
    return np.argsort(draws, kind="stable")


def hold_out(labels: Labels, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of the images that stay and of those held out, each in shuffled order.

    ``share`` of each class is held out, rounded; of a class with two images or more at least one
    is held out and at least one stays, and a single image stays.

    Args:
        labels: Shape ``(num_images,)``, values >= 0.
        share: Share of each class to hold out, in (0, 1).
        seed: Of the shuffle.

    Returns:
        Two arrays that hold each index of ``labels`` once between them.
    """
    order = shuffled(len(labels), seed)
    counts = np.bincount(labels)
    num_held = np.minimum(np.maximum(np.rint(share * counts), 1), counts - 1)
    held = _rank_in_class(labels[order], counts) < num_held[labels[order]]
    return order[~held], order[held]


def cut_fixed_test(whole: Split) -> TrainTest:
    """Cut the fixed test set off ``whole``; both parts keep the order of the images."""
    rest, held = hold_out(whole.labels, FIXED_TEST_SHARE, FIXED_TEST_SEED)
    return TrainTest(whole.take(np.sort(rest)), whole.take(np.sort(held)))


def _rank_in_class(labels: Labels, counts: Indices) -> Indices:
    """How many images of the same class stand before each image."""
    by_class = np.argsort(labels, kind="stable")
    first_of_class = np.cumsum(counts) - counts
    rank = np.empty_like(by_class)
    rank[by_class] = np.arange(len(labels)) - np.repeat(first_of_class, counts)
    return rank

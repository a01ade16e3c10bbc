"""``digits``: 1,797 grey digits of 8 x 8 pixels that come with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor.console import Console
from compressor.data.source import RawData, Split
from compressor.data.split import cut_fixed_test
from compressor.data.statistics import channel_statistics

LARGEST_GREY = 16
"""The pixels of this set are 0 .. 16 and are stretched to 0 .. 255."""


@dataclass(frozen=True)
class Digits:
    """Optical digits; a fixed fifth of each class is the test set."""

    name = "digits"
    description = "1,797 grey handwritten digits, 8 x 8 pixels, 10 classes: for tests in seconds"
    licence = "BSD-3-Clause, as part of scikit-learn; the images: CC BY 4.0 (UCI)"
    size_note = "nothing is fetched: it is part of scikit-learn"
    takes_path = False

    def get(self, _folder: Path, console: Console) -> None:
        """Say that there is nothing to do."""
        console.say(f"{self.name}: {self.size_note}")

    def load(self, _folder: Path) -> RawData:
        """Read the digits from scikit-learn, not from a folder."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / LARGEST_GREY)).astype(np.uint8)
        pair = cut_fixed_test(Split(pixels[:, None], digits.target.astype(np.int64)))
        mean, std = channel_statistics(pair.train.images)
        classes = tuple(str(name) for name in digits.target_names)
        return RawData(pair.train, pair.test, classes, mean, std)

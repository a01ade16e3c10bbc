"""Image classification: cross entropy, top-1 accuracy, simple augmentation."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compressor.data.source import ImageData, Split
from compressor.settings import Settings
from compressor.tasks.task import Batch, Held, Predict

EVALUATION_BATCH = 500


Augment = Literal["none", "flip", "flip-shift"]
"""Random mirror images, and shifts by up to an eighth of the height."""


class TaskSettings(Settings):
    """How training images are shown and how errors are weighed."""

    augment: Augment = "none"
    """How images vary in every stage of training that names no other way."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each target spread over all classes."""


class Classification:
    """One label per image."""

    def __init__(self, data: ImageData, settings: TaskSettings) -> None:
        self._data = data
        self._settings = settings
        self._mean = torch.tensor(data.mean).view(1, -1, 1, 1)
        self._std = torch.tensor(data.std).view(1, -1, 1, 1)
        self.num_train = len(data.train)
        self.augmented = settings.augment != "none"

    def batch(self, places: Tensor, generator: torch.Generator) -> Batch:
        """Training images at ``places`` (int64, shape ``(images,)``), augmented and normalised."""
        images = self._inputs(self._data.train, places.numpy())
        labels = torch.from_numpy(self._data.train.labels[places.numpy()])
        if self._settings.augment != "none":
            images = flip(images, generator)
        if self._settings.augment == "flip-shift":
            images = shift(images, images.shape[-2] // 8, generator)
        return Batch(images, labels, places)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean cross entropy of logits, shape ``(images, classes)``."""
        return functional.cross_entropy(
            outputs.float(), batch.targets, label_smoothing=self._settings.label_smoothing
        )

    def accuracy(self, predict: Predict, held: Held) -> float:
        """Share of the held-out images whose largest logit is the label's."""
        split = self._data.validation if held == "validation" else self._data.test
        right = 0
        for start in range(0, len(split), EVALUATION_BATCH):
            places = np.arange(start, min(start + EVALUATION_BATCH, len(split)))
            guesses = predict(self._inputs(split, places)).argmax(dim=1).cpu().numpy()
            right += int((guesses == split.labels[places]).sum())
        return right / len(split)

    def example(self, num_images: int) -> Tensor:
        """The first validation images, normalised, shape ``(images, channels, height, width)``."""
        places = np.arange(min(num_images, len(self._data.validation)))
        return self._inputs(self._data.validation, places)

    def calibration(self, num_images: int, seed: int) -> Tensor:
        """So many training images, or all, drawn by ``seed``; normalised, not augmented."""
        places = np.random.default_rng(seed).permutation(self.num_train)[:num_images]
        return self._inputs(self._data.train, np.sort(places))

    def _inputs(self, split: Split, places: NDArray[np.int64]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(split.images[places]))
        return (pixels.float() / 255 - self._mean) / self._std


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image (shape ``(images, channels, height, width)``) with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


def shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``pixels`` in both directions; its edge is repeated."""
    num_images, _, height, width = images.shape
    padded = functional.pad(images, (pixels,) * 4, mode="replicate")
    moves = torch.randint(0, 2 * pixels + 1, (2, num_images, 1), generator=generator)
    rows = moves[0] + torch.arange(height)
    columns = moves[1] + torch.arange(width)
    each = torch.arange(num_images).view(-1, 1, 1)
    # Indices on the axes around the channels put the channel axis last.
    picked = padded[each, :, rows.unsqueeze(2), columns.unsqueeze(1)]
    return picked.permute(0, 3, 1, 2).contiguous()

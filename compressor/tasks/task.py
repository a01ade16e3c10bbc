"""What a task is to training, tuning and verification: batches, a loss, a figure of merit."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

Held = Literal["validation", "test"]
"""Images that are not trained on. Validation decides whatever is chosen, test is only reported."""

Predict = Callable[[Tensor], Tensor]
"""A model in any engine: inputs, shape ``(images, ...)``, to outputs."""


class Batch(NamedTuple):
    """Inputs and targets of some training images.

    Attributes:
        inputs: float32, ready for the model.
        targets: What the loss compares with.
        places: int64, shape ``(images,)``: which training images these are.
    """

    inputs: Tensor
    targets: Tensor
    places: Tensor


class Task(Protocol):
    """What is learned, independent of how."""

    num_train: int
    """Training images."""
    augmented: bool
    """Whether an image looks different each time it is drawn."""

    def batch(self, places: Tensor, generator: torch.Generator) -> Batch:
        """The training images at ``places``; ``generator`` decides their augmentation."""
        ...

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Scalar loss of a model's outputs."""
        ...

    def accuracy(self, predict: Predict, held: Held) -> float:
        """Share of held-out images that ``predict`` gets right, in [0, 1]."""
        ...

    def example(self, num_images: int) -> Tensor:
        """The first validation images as inputs."""
        ...


class Objective(Protocol):
    """What the loop minimises: a task's loss, or a task's loss with a teacher's."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scalar loss of ``model`` on ``batch``."""
        ...


class TaskLoss:
    """The plain objective: the task's own loss."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Loss of the model's outputs."""
        return self._task.loss(model(batch.inputs), batch)

"""Distillation: the slim network also learns to answer as the dense one does.

Hinton et al., Distilling the Knowledge in a Neural Network (2015), arXiv 1503.02531.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.tasks.task import Batch, Task
from compressor.train.order import generator_for

REMEMBERED_NUMBERS = 50_000_000
"""Teacher outputs are computed once and kept if they are at most this many numbers (200 MB)."""

TEACHER_BATCH = 500


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence of softened outputs, times ``temperature`` squared.

    Args:
        student: Logits, shape ``(images, classes)``.
        teacher: Logits, same shape.
        temperature: > 0. The factor keeps the size of the gradient when it changes.
    """
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=1),
        functional.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2


class Distillation:
    """Objective that mixes the task's loss with the distance to a teacher's outputs.

    The teacher is put into eval mode, its parameters lose their gradients, and it moves to the
    device that the batches are on.
    """

    def __init__(self, task: Task, teacher: nn.Module, weight: float, temperature: float) -> None:
        self._task, self._weight, self._temperature = task, weight, temperature
        self._teacher = teacher.eval().requires_grad_(False)
        self._remembered = _all_outputs(task, teacher)

    def teacher_images(self, images: int) -> int:
        """Images that go through the teacher while ``images`` are trained on."""
        return images if self._remembered is None else self._task.num_train

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """``(1 - weight) * task loss + weight * distillation loss``."""
        outputs = model(batch.inputs)
        gap = distillation_loss(outputs.float(), self._answers(batch), self._temperature)
        return (1 - self._weight) * self._task.loss(outputs, batch) + self._weight * gap

    def _answers(self, batch: Batch) -> Tensor:
        if self._remembered is not None:
            return self._remembered[batch.places.cpu()].to(batch.inputs.device)
        with torch.no_grad():
            answers: Tensor = self._teacher.to(batch.inputs.device)(batch.inputs)
        return answers.float()


@torch.no_grad()
def _all_outputs(task: Task, teacher: nn.Module) -> Tensor | None:
    """Teacher's logits for every training image, if images never change and the table is small."""
    if task.augmented:
        return None
    device = next(teacher.parameters()).device
    outputs = []
    for start in range(0, task.num_train, TEACHER_BATCH):
        places = torch.arange(start, min(start + TEACHER_BATCH, task.num_train))
        batch = task.batch(places, generator_for(0, "unused"))
        outputs.append(teacher(batch.inputs.to(device)).float().cpu())
        if outputs[0].shape[1] * task.num_train > REMEMBERED_NUMBERS:
            return None
    return torch.cat(outputs)

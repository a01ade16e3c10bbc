"""Distillation: the slim network also learns to answer as the dense one does.

Hinton et al., Distilling the Knowledge in a Neural Network (2015), arXiv 1503.02531.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.tasks.task import Batch, Task
from compressor.train.features import Features
from compressor.train.order import generator_for

REMEMBERED_NUMBERS = 50_000_000
"""Teacher outputs are computed once and kept if they are at most this many numbers (200 MB)."""

TEACHER_BATCH = 500


@dataclass(frozen=True)
class Stages:
    """Features that are compared beside the outputs.

    Attributes:
        features: Which.
        weight: What their loss, in [0, 1], is multiplied by before it is added; > 0.
    """

    features: Features
    weight: float


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
    """Objective that mixes the task's loss with the distance to a teacher.

    The teacher is put into eval mode, its parameters lose their gradients, and it moves to the
    device that the batches are on. What of the task's loss is special, smoothed labels say, is so
    in its own share alone: the teacher's answers are taken as they are.

    Where images never change and no features are compared, the teacher's logits are computed once
    and remembered. Features are not: with them the teacher sees every batch, and answers meanwhile.
    """

    def __init__(
        self,
        task: Task,
        teacher: nn.Module,
        weight: float,
        temperature: float,
        stages: Stages | None = None,
    ) -> None:
        """Take a teacher.

        Args:
            task: Where images and the loss on labels come from.
            teacher: The dense network.
            weight: Share of the loss on outputs that compares with the teacher's, in [0, 1]; with
                0 no outputs are compared.
            temperature: > 0; softens both outputs.
            stages: Features to compare beside the outputs.
        """
        self._task, self._weight, self._temperature = task, weight, temperature
        self._teacher = teacher.eval().requires_grad_(False)
        self._stages = stages
        self._remembered = _all_outputs(task, teacher) if weight and stages is None else None

    def teacher_images(self, images: int) -> int:
        """Images that go through the teacher while ``images`` are trained on."""
        if self._remembered is not None:
            return self._task.num_train
        return images if self._weight or self._stages is not None else 0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """``(1 - weight) * task loss + weight * distillation loss``, and that of the stages.

        Raises:
            TrainError: A stage did not run exactly once.
        """
        if self._stages is None:
            return self._output_loss(model(batch.inputs), batch, self._answers(batch))
        features = self._stages.features
        with features.of_student() as seen:
            outputs = model(batch.inputs)
        with features.of_teacher() as seen_by_teacher:
            answers = self._answers(batch)
        gap = features.loss(seen, seen_by_teacher)
        return self._output_loss(outputs, batch, answers) + self._stages.weight * gap

    def _output_loss(self, outputs: Tensor, batch: Batch, answers: Tensor | None) -> Tensor:
        loss = self._task.loss(outputs, batch)
        if not self._weight or answers is None:
            return loss
        gap = distillation_loss(outputs.float(), answers, self._temperature)
        return (1 - self._weight) * loss + self._weight * gap

    def _answers(self, batch: Batch) -> Tensor | None:
        """The teacher's logits; None where nothing is compared."""
        if self._remembered is not None:
            return self._remembered[batch.places.cpu()].to(batch.inputs.device)
        if not self._weight and self._stages is None:
            return None
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

"""What OptG keeps beside each weight or coupling: scores, their momenta and masks."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.sparsity.candidates import Candidates, Tensors


@dataclass
class Scored:
    """Candidates, and what is known of each: tensors of their shape.

    Attributes:
        candidates: What is scored.
        group: Place of the optimiser's group whose rate the scores follow.
        faint: What the network sees of a candidate that is left out, beside 1 for a kept one.
        score: The paper's s.
        momentum: Of the scores' SGD.
        kept: The paper's m, one or zero.
        shown: Factors of what the network sees.
    """

    candidates: Candidates
    group: int
    faint: float
    score: Tensor
    momentum: Tensor
    kept: Tensor
    shown: Tensor

    def size(self, tensors: Tensors) -> Tensor:
        """Sum of squares of each candidate."""
        return self.candidates.dot(tensors, tensors)

    def move(self, slope: Tensor, momentum: float, rate: float) -> None:
        """One step of SGD on the scores, which ``slope`` is the gradient of."""
        self.momentum.mul_(momentum).add_(slope)
        self.score.add_(self.momentum, alpha=-rate)

    def keep(self, mask: Tensor) -> None:
        """Take a new mask."""
        self.kept.copy_(mask)
        torch.clamp(self.kept, min=self.faint, out=self.shown)


def mean_of(parts: Iterable[Tensor]) -> float:
    """Mean of all entries of all parts; zero where there are none."""
    flat = [part.flatten() for part in parts]
    total = sum(part.numel() for part in flat)
    return sum(float(part.double().sum()) for part in flat) / total if total else 0.0

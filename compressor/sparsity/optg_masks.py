"""When and what OptG leaves out, as pure functions of epochs and scores."""

from collections.abc import Sequence

import torch
from torch import Tensor

from compressor.sparsity.masks import two_of_four
from compressor.sparsity.schedules import late_share


def last_mask(num_epochs: int) -> int:
    """Epoch at whose start the last mask is made; a run of one epoch has it behind its end."""
    return max(num_epochs - 1, 1)


def sparsity_share(epoch: int, num_epochs: int, steepness: float) -> float:
    """Share of the asked sparsity that the mask of epoch ``epoch`` has, in [0, 1].

    The paper's sigmoid, but nothing in epoch 0, where all scores are zero, and exactly one from the
    last mask on, which the sigmoid of a short run does not reach.

    Args:
        epoch: From 0.
        num_epochs: The paper's T.
        steepness: The paper's beta, per epoch, > 0.
    """
    if epoch >= last_mask(num_epochs):
        return 1.0
    return late_share(epoch, num_epochs, steepness) if epoch > 0 else 0.0


def largest_jump(num_epochs: int, steepness: float) -> float:
    """Largest share of the asked sparsity that one mask adds to the mask before it."""
    shares = [
        sparsity_share(epoch, num_epochs, steepness) for epoch in range(last_mask(num_epochs) + 1)
    ]
    return max(after - before for before, after in zip(shares, shares[1:], strict=False))


def two_of_four_first(scores: Tensor, sizes: Tensor) -> Tensor:
    """The same scores, but infinite for the better two of every four.

    So the pattern stays at any density from a half on, and of the others the best for which there
    is room.
    """
    return scores.masked_fill(two_of_four(scores, sizes), torch.inf)


def ranks(scores: Sequence[Tensor], sizes: Sequence[Tensor]) -> list[Tensor]:
    """Places of all candidates in one order, in (0, 1], float64; the best has 1.

    Larger scores first; among equal scores larger sizes, and among these the first.

    Args:
        scores: One tensor for each layer, any shapes, no NaN.
        sizes: As ``scores``.
    """
    if not scores:
        return []
    score = torch.cat([some.flatten() for some in scores])
    by_size = torch.cat([some.flatten() for some in sizes]).argsort(descending=True, stable=True)
    order = by_size[score[by_size].argsort(descending=True, stable=True)]
    places = torch.empty(len(score), dtype=torch.float64, device=score.device)
    places[order] = torch.arange(len(score), 0, -1, dtype=torch.float64, device=score.device)
    parts = torch.split(places / len(score), [some.numel() for some in scores])
    return [part.view(some.shape) for part, some in zip(parts, scores, strict=True)]

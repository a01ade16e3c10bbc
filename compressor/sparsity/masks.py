"""Which entries to keep, as pure functions of scores: exact counts, and ties by position."""

from collections.abc import Sequence

import torch
from torch import Tensor

GROUP, KEPT_OF_GROUP = 4, 2
"""Of so many neighbouring weights so many stay: the pattern that sparse tensor cores read."""


def keep_largest(scores: Tensor, num_kept: int) -> Tensor:
    """Mask of the ``num_kept`` largest scores, bool, of the shape of ``scores``.

    Among equal scores those that come first stay, so the count is exact and the same everywhere.

    Args:
        scores: Any shape, no NaN.
        num_kept: From 0 to the number of scores.
    """
    order = scores.flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[order[:num_kept]] = True
    return mask.view(scores.shape)


def keep_largest_of_all(
    scores: Sequence[Tensor], num_kept: int, floors: Sequence[int]
) -> list[Tensor]:
    """Masks of the largest scores over all tensors together, each of which keeps its floor.

    Args:
        scores: One tensor for each layer, any shapes, comparable with each other.
        num_kept: How many to keep in all; where the floors need more, they have it.
        floors: How many each tensor keeps at least, not more than it has.

    Returns:
        One bool tensor for each of ``scores``; together they keep ``max(num_kept, sum(floors))``.
    """
    safe = [keep_largest(some, floor) for some, floor in zip(scores, floors, strict=True)]
    if not safe:
        return []
    # What a floor holds ranks first; the rest of the places go to the rest by score.
    flat = torch.cat(
        [
            some.flatten().masked_fill(kept.flatten(), torch.inf)
            for some, kept in zip(scores, safe, strict=True)
        ]
    )
    mask = keep_largest(flat, max(num_kept, sum(floors)))
    parts = torch.split(mask, [some.numel() for some in scores])
    return [part.view(some.shape) for part, some in zip(parts, scores, strict=True)]


def has_groups(shape: Sequence[int]) -> bool:
    """Whether a weight of this shape can be cut two of four: its inputs divide by four."""
    return len(shape) > 1 and shape[1] % GROUP == 0


def two_of_four(scores: Tensor) -> Tensor:
    """Mask of the two largest of every four scores that follow each other along the inputs.

    Args:
        scores: Shape ``(outputs, inputs, ...)`` of a weight, for which ``has_groups`` holds.

    Returns:
        Bool, same shape, half of it True. Mishra et al., Accelerating Sparse Deep Neural Networks
        (2021), have the same pattern.
    """
    moved = scores.movedim(1, -1)
    groups = moved.reshape(*moved.shape[:-1], -1, GROUP)
    best = groups.argsort(dim=-1, descending=True, stable=True)[..., :KEPT_OF_GROUP]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, value=True)
    return mask.flatten(-2).movedim(-1, 1).contiguous()

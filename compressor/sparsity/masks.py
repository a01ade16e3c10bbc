"""Which entries to keep, as pure functions of scores: exact counts, and ties in a fixed order."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

GROUP, KEPT_OF_GROUP = 4, 2
"""Of so many neighbouring weights so many stay: the pattern that sparse tensor cores read."""

HALF = KEPT_OF_GROUP / GROUP
"""Density of two of four."""

Ranking = Literal["global", "layer"]
"""Whether candidates compete over the whole network, or within their tensor or coupling."""


def keep_largest(scores: Tensor, num_kept: int, sizes: Tensor | None = None) -> Tensor:
    """Mask of the ``num_kept`` largest scores, bool, of the shape of ``scores``.

    Among equal scores the larger sizes stay, and among those the ones that come first, so the count
    is exact and the same everywhere.

    Args:
        scores: Any shape, no NaN.
        num_kept: From 0 to the number of scores.
        sizes: Of the shape of ``scores``; without them ties are by position alone.
    """
    flat = scores.flatten()
    if num_kept <= 0 or num_kept >= len(flat):
        return torch.full_like(scores, num_kept > 0, dtype=torch.bool)
    # A selection, which takes a tenth of the time of a sort; only ties are sorted.
    threshold = flat.kthvalue(len(flat) - num_kept + 1).values
    mask = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    if sizes is not None:
        ties = ties[sizes.flatten()[ties].argsort(descending=True, stable=True)]
    mask[ties[: num_kept - int(mask.sum())]] = True
    return mask.view(scores.shape)


def keep_largest_of_all(
    scores: Sequence[Tensor],
    num_kept: int,
    floors: Sequence[int],
    sizes: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Masks of the largest scores over all tensors together, each of which keeps its floor.

    Args:
        scores: One tensor for each layer, any shapes, comparable with each other.
        num_kept: How many to keep in all; where the floors need more, they have it.
        floors: How many each tensor keeps at least, not more than it has.
        sizes: Order equal scores, as in ``keep_largest``.

    Returns:
        One bool tensor for each of ``scores``; together they keep ``max(num_kept, sum(floors))``.
    """
    if not scores:
        return []
    ties = [None] * len(scores) if sizes is None else sizes
    safe = [
        keep_largest(some, floor, size)
        for some, floor, size in zip(scores, floors, ties, strict=True)
    ]
    # What a floor holds ranks first; the rest of the places go to the rest by score.
    flat = torch.cat(
        [
            some.masked_fill(kept, torch.inf).flatten()
            for some, kept in zip(scores, safe, strict=True)
        ]
    )
    together = None if sizes is None else torch.cat([size.flatten() for size in sizes])
    mask = keep_largest(flat, max(num_kept, sum(floors)), together)
    parts = torch.split(mask, [some.numel() for some in scores])
    return [part.view(some.shape) for part, some in zip(parts, scores, strict=True)]


def keep_best(
    scores: Sequence[Tensor],
    density: float,
    floors: Sequence[int],
    ranking: Ranking,
    sizes: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Masks of the share ``density`` of largest scores; no tensor falls below its floor.

    Args:
        scores: One tensor for each layer, any shapes; for ``global`` comparable with each other.
        density: Share kept, in [0, 1], of all together or of each.
        floors: How many each tensor keeps at least.
        ranking: Whether all scores compete, or only those of one tensor.
        sizes: Order equal scores, as in ``keep_largest``.
    """
    if ranking == "global":
        total = sum(some.numel() for some in scores)
        return keep_largest_of_all(scores, round(density * total), floors, sizes)
    ties = [None] * len(scores) if sizes is None else sizes
    return [
        keep_largest(some, max(floor, round(density * some.numel())), size)
        for some, floor, size in zip(scores, floors, ties, strict=True)
    ]


def has_groups(shape: Sequence[int]) -> bool:
    """Whether a weight of this shape can be cut two of four: its inputs divide by four."""
    return len(shape) > 1 and shape[1] % GROUP == 0


def two_of_four(scores: Tensor, sizes: Tensor | None = None) -> Tensor:
    """Mask of the two largest of every four scores that follow each other along the inputs.

    Args:
        scores: Shape ``(outputs, inputs, ...)`` of a weight, for which ``has_groups`` holds.
        sizes: Order equal scores, as in ``keep_largest``.

    Returns:
        Bool, same shape, half of it True. Mishra et al., Accelerating Sparse Deep Neural Networks
        (2021), have the same pattern.
    """
    groups = _in_groups(scores)
    first = groups if sizes is None else _in_groups(sizes)
    # Two stable sorts, the last by score: equal scores stay in the order of the first.
    order = first.argsort(dim=-1, descending=True, stable=True)
    if sizes is not None:
        again = groups.gather(-1, order).argsort(dim=-1, descending=True, stable=True)
        order = order.gather(-1, again)
    best = order[..., :KEPT_OF_GROUP]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, value=True)
    return mask.flatten(-2).movedim(-1, 1).contiguous()


def _in_groups(values: Tensor) -> Tensor:
    moved = values.movedim(1, -1)
    return moved.reshape(*moved.shape[:-1], -1, GROUP)

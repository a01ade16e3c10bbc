"""Proximal maps, as pure functions of tensors."""

import torch
from torch import Tensor


def shrink_factors(norms: Tensor, thresholds: Tensor | float) -> Tensor:
    """What the group lasso's proximal map multiplies each group by: ``max(0, 1 - t / norm)``.

    Args:
        norms: 2-norms of the groups, any shape.
        thresholds: >= 0, in the units of ``norms``; one, or one for each group.

    Returns:
        Same shape as ``norms``, in [0, 1]; exactly zero where the norm is zero or not above the
        threshold.
    """
    inside = norms <= thresholds
    # Where a group becomes zero the quotient is not used, so a zero norm may be replaced by one.
    return (1 - thresholds / norms.masked_fill(inside, 1.0)).masked_fill(inside, 0.0)


def group_soft_threshold(v: Tensor, threshold: float) -> Tensor:
    """Shrink each row of ``v`` towards zero by ``threshold`` in the 2-norm.

    Solves ``argmin_z 1/2 ||z - v||^2 + threshold * sum_g ||z_g||_2``, the group lasso's proximal
    map. With one entry per row it is the soft threshold of the lasso.

    Args:
        v: Shape ``(groups, entries)``.
        threshold: Threshold, >= 0, in the units of ``v``.

    Returns:
        Same shape; rows with norm <= ``threshold``, and rows of zeros, are exactly zero.
    """
    norms = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return v * shrink_factors(norms, threshold)


def soft_threshold(v: Tensor, threshold: float) -> Tensor:
    """Shrink each entry of ``v`` towards zero by ``threshold``: the lasso's proximal map.

    Args:
        v: Any shape.
        threshold: Threshold, >= 0, in the units of ``v``.

    Returns:
        Same shape; entries not larger than ``threshold`` are exactly zero.
    """
    return torch.nn.functional.softshrink(v, threshold)

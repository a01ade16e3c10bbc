"""Proximal maps, as pure functions of tensors."""

import torch
from torch import Tensor


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
    norms: Tensor = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    inside = norms <= threshold
    # Where a row becomes zero the quotient is not used, so a zero norm may be replaced by one.
    shrunk = v * (1 - threshold / norms.masked_fill(inside, 1.0))
    return shrunk.masked_fill(inside, 0.0)

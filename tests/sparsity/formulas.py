"""Formulas that the methods are held against."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def augmented_loss(
    loss: Tensor, weights: Sequence[Tensor], gammas: Sequence[Tensor], nu: float
) -> Tensor:
    """What Split LBI descends on: ``L(W) + ||W - Gamma||^2 / (2 nu)``.

    Without momentum and weight decay, on the whole data and at a safe step it never rises.

    Args:
        loss: L(W), a scalar.
        weights: W of each twin.
        gammas: Gamma of each, same shapes.
        nu: > 0.
    """
    gaps = [(w - gamma).square().sum() for w, gamma in zip(weights, gammas, strict=True)]
    return loss + torch.stack(gaps).sum() / (2 * nu) if gaps else loss


def expected_explored(density: float, shares: Sequence[float]) -> float:
    """R_s of one layer that grows at random, a just dropped candidate not at once.

    ``1 - R_s = (1 - d) prod_i (1 - p_i d / (1 - d))``: each update tries an equal share of all that
    is left out, tried before or not.

    Args:
        density: d, in (0, 1].
        shares: Drop share p_i of each update, in [0, 1].
    """
    if density == 1:
        return 1.0
    odds = density / (1 - density)
    return 1 - (1 - density) * math.prod(max(0.0, 1 - share * odds) for share in shares)

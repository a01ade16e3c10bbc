"""What the path of Split LBI keeps, as pure functions of Z, W and epochs of entry."""

from collections.abc import Iterable

import torch
from torch import Tensor

from compressor.sparsity.masks import keep_largest
from compressor.structure import NEVER


def epoch_of_step(steps: Tensor, num_steps: int, num_epochs: int) -> Tensor:
    """Epoch (from 0) of each optimiser step (from 1) of a run."""
    return (steps - 1) * num_epochs // num_steps


def ordered_scores(norms: Tensor, epochs: Tensor, num_epochs: int) -> Tensor:
    """||W_g|| minus the epoch of entry: what entered earlier ranks higher.

    The order of the published code, in which norms decide where they differ by more than epochs.

    Args:
        norms: ||W_g||, any shape.
        epochs: Of entry, from 0, or ``NEVER``; same shape. What never entered ranks below all that
            did, by norm.
        num_epochs: Of the run.
    """
    norms = norms.double()
    # The published code puts these at epoch 2000; this is late enough at any norm.
    never = num_epochs + norms.max()
    return norms - torch.where(epochs == NEVER, never, epochs.double())


def keep_share(scores: Tensor, density: float) -> Tensor:
    """Mask of the best ``density`` (share kept) of a layer, at least one; bool, same shape."""
    return keep_largest(scores, max(1, round(density * scores.numel())))


def or_best(support: Tensor, dual_norms: Tensor, weight_norms: Tensor) -> Tensor:
    """``support``, or where it is empty the one group with the largest ||Z_g||.

    Of several, as before the first step, where all Z are zero, the one with the largest ||W_g||.
    """
    return support if support.any() else keep_largest(dual_norms, 1, weight_norms)


def relative_product(factors: Iterable[Tensor]) -> Tensor:
    """Product of factors, each over its own mean; float64 on the CPU.

    A factor that is zero everywhere, as Z before the first step, says nothing and counts as one.

    Args:
        factors: At least one; non-negative, all of one shape, on any device.
    """
    product = torch.ones((), dtype=torch.float64)
    for factor in factors:
        values = factor.cpu().double()
        mean = values.mean()
        product = product * torch.where(mean > 0, values / mean, 1.0)
    return product

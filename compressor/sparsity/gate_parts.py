"""The maths of gated weights for whole layers, part by part, so that it stays in the cache.

What ``gate_functions`` says in a line takes some thirty passes over all weights of a network, each
as long as the memory takes, and as many new tensors. Here each of a few sweeps does all that it can
with a part of a tensor, in spare memory, before it goes on to the next. The gradients are those of
the formulas there, written by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.sparsity.gate_functions import SMOOTHING, Pull, highest_beta

PART = 2**16
"""Entries of a part: what a sweep makes of them fits into the cache of one core."""


def sweep(*tensors: Tensor, num_spare: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of tensors of one shape, as views, part by part, with spare memory.

    On an accelerator, where a sweep would be as many kernels as parts, there is one part.

    Args:
        tensors: At least one.
        num_spare: How many tensors to add to each part, shaped as it is, holding anything.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.dim() == 0 or first.numel() <= PART:
        yield (*tensors, *(torch.empty_like(first) for _ in range(num_spare)))
        return
    num_rows = max(1, PART // first[0].numel())
    spare = [torch.empty_like(first[:num_rows]) for _ in range(num_spare)]
    for part in zip(*(torch.split(tensor, num_rows) for tensor in tensors), strict=True):
        yield (*part, *(some[: len(part[0])] for some in spare))


@dataclass(frozen=True)
class Sums:
    """Sums over a tensor of weights, scalars.

    Attributes:
        sizes: Of magnitudes of the true weights.
        values: Of magnitudes of the gated ones.
    """

    sizes: Tensor
    values: Tensor


def weight_gradients_(
    weights: Tensor, beta: Tensor, gradient: Tensor, pull: Pull, sums: Sums
) -> Tensor:
    """Make the gradient at gated weights that of loss + lambda * R at true ones, in place.

    Args:
        weights: True ones, any shape.
        beta: Scalar.
        gradient: That of the loss at the gated weights, of their shape.
        pull: lambda and R.
        sums: Of these weights, under this beta.

    Returns:
        The gradient at beta, a scalar.
    """
    share = torch.sigmoid(beta)
    threshold = share * sums.sizes
    offset, of_mean, scale = quasi_norm_slope(weights, threshold, pull.p, sums.values)
    total = torch.zeros_like(sums.sizes)
    for some, at_size, over, alive, signs in sweep(weights, gradient, num_spare=3):
        torch.abs(some, out=over).sub_(threshold)
        if pull.flow == "rectified":
            torch.clamp(over, max=0, out=alive).exp_()
        over.relu_()
        if pull.flow == "plain":
            torch.sign(over, out=alive)
        over.add_(offset).pow_(pull.p - 1).add_(of_mean).mul_(scale * pull.strength)
        at_size.mul_(torch.sign(some, out=signs)).add_(over).mul_(alive)
        total += at_size.sum()
    for some, at_size, signs in sweep(weights, gradient, num_spare=1):
        at_size.sub_(share * total).mul_(torch.sign(some, out=signs))
    of_beta: Tensor = -share * (1 - share) * sums.sizes * total
    return of_beta


def quasi_norm_slope(
    weights: Tensor, threshold: Tensor, p: float, sum_of_values: Tensor
) -> tuple[Tensor, Tensor | float, Tensor | float]:
    """Numbers that the gradient of ``quasi_norm`` at sizes over a threshold is made of.

    At a value v it is ``((v + offset) ** (p - 1) + of_mean) * scale``.

    Args:
        weights: Any shape.
        threshold: What is taken off each magnitude; one at least is larger.
        p: Of the quasi-norm.
        sum_of_values: What is left of the magnitudes then, added up.

    Returns:
        offset, of_mean and scale.
    """
    num = weights.numel()
    offset = SMOOTHING / num * sum_of_values
    if p == 1:
        return offset, 0.0, 1.0
    powers, slopes = torch.zeros_like(offset), torch.zeros_like(offset)
    for some, shifted, of_some in sweep(weights, num_spare=2):
        torch.abs(some, out=shifted).sub_(threshold).relu_().add_(offset)
        slopes += torch.pow(shifted, p - 1, out=of_some).sum()
        powers += of_some.mul_(shifted).sum()
    of_mean = SMOOTHING * (slopes / num - offset.pow(p - 1))
    of_ones = float(((1 + SMOOTHING) ** p - SMOOTHING**p) ** (1 / p))
    return offset, of_mean, (powers / num - offset.pow(p)).pow(1 / p - 1) / of_ones


def show_(weights: Tensor, beta: Tensor) -> Sums:
    """Lower ``beta`` to where the guard wants it, then make of true weights the gated ones.

    Both in place. ``gated_weights`` is the formula.
    """
    largest, sum_of_sizes = weights.new_zeros(()), torch.zeros_like(beta)
    for some, sizes in sweep(weights, num_spare=1):
        torch.maximum(largest, torch.abs(some, out=sizes).amax(), out=largest)
        sum_of_sizes += sizes.sum()
    torch.minimum(beta, highest_beta(largest, sum_of_sizes), out=beta)
    threshold, sum_of_values = torch.sigmoid(beta) * sum_of_sizes, torch.zeros_like(beta)
    for some, kept in sweep(weights, num_spare=1):
        torch.abs(some, out=kept).sub_(threshold).relu_()
        sum_of_values += kept.sum()
        some.sign_().mul_(kept)
    return Sums(sum_of_sizes, sum_of_values)

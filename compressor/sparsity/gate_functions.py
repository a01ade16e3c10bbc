"""The maths of differentiable sparsification, as pure functions that autograd goes through.

Lee, Differentiable Sparsification for Deep Neural Networks, arXiv 1910.03201, and its companion,
arXiv 2006.13716. Each size has to exceed a share, sig(beta), of the sum of all sizes; beta is
learned, so gradient descent alone makes exact zeros, and no step selects anything.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Form = Literal["independent", "competitive"]
"""Gates as they are, or over their mean, which are the paper's competitive ones times n."""

Flow = Literal["plain", "rectified"]
"""Derivative of max(0, x) behind zero: its own, or that of ELU, so that a gate can return."""

GUARD = 0.9
"""Largest sig(beta) over the largest share, < 1, so that the largest of each set cannot die."""

SMOOTHING = 0.01
"""What is added to each value before it is raised to p, over their mean: bounds the pull."""

FIRST_THRESHOLD = 0.5
"""Threshold at the start, over the mean size."""


@dataclass(frozen=True)
class Pull:
    """What is minimised beside the loss, and how its gradient goes back.

    Attributes:
        strength: The paper's lambda, >= 0.
        p: Of the quasi-norm, in (0, 1].
        form: Of gates.
        flow: Through max(0, .).
    """

    strength: float
    p: float
    form: Form
    flow: Flow


class _RectifiedHinge(torch.autograd.Function):
    """max(0, x), whose derivative is taken to be that of ELU: exp(x) behind zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return gradients[0] * x.clamp(max=0).exp()


def hinge(x: Tensor, flow: Flow = "plain") -> Tensor:
    """max(0, x); only what flows back through it depends on ``flow``."""
    if flow == "plain":
        return torch.relu(x)
    rectified: Tensor = _RectifiedHinge.apply(x)
    return rectified


def over_threshold(sizes: Tensor, beta: Tensor, flow: Flow = "plain") -> Tensor:
    """max(0, size - sig(beta) * sum of all sizes), of the shape of ``sizes``.

    Exactly those are positive whose share of the sum is above sig(beta), so they are fewer than
    1 / sig(beta), and none is where sig(beta) is the largest share or more.

    Args:
        sizes: The paper's gamma, or magnitudes of weights, >= 0, any shape.
        beta: Scalar.
        flow: Of what goes back.
    """
    return hinge(sizes - torch.sigmoid(beta) * sizes.sum(), flow)


def unit_gates(alpha: Tensor, beta: Tensor, form: Form, flow: Flow = "plain") -> Tensor:
    """Gates a of one set, >= 0, shape ``(gates,)``; the mean of competitive ones is one.

    Args:
        alpha: Shape ``(gates,)``; gamma is exp(alpha).
        beta: Scalar, with sig(beta) below the largest share of gamma.
        form: Of the gates.
        flow: Of what goes back.
    """
    gates = over_threshold(alpha.exp(), beta, flow)
    return gates / gates.mean() if form == "competitive" else gates


def gated_weights(weights: Tensor, beta: Tensor, flow: Flow = "plain") -> Tensor:
    """sign(w) * max(0, |w| - sig(beta) * ||w||_1), the companion's form for single weights."""
    return weights.sign() * over_threshold(weights.abs(), beta, flow)


def quasi_norm(values: Tensor, p: float) -> Tensor:
    """The l_p quasi-norm of ``values`` times ``n ** (1 - 1 / p)``, a scalar.

    The factor makes it the sum where all ``n`` values are equal, whatever p and n. To keep the pull
    on small values finite, ``(v + e) ** p - e ** p`` stands for ``v ** p``, with e ``SMOOTHING``
    times the mean. At p = 1 it is the sum.

    Args:
        values: >= 0, not all zero, any shape.
        p: In (0, 1].
    """
    if p == 1:
        return values.sum()
    offset = SMOOTHING * values.mean()
    powers = (values + offset).pow(p).mean() - offset.pow(p)
    # What smoothing makes of ones among ones.
    of_ones = float(((1 + SMOOTHING) ** p - SMOOTHING**p) ** (1 / p))
    norm: Tensor = values.numel() * powers.pow(1 / p) / of_ones
    return norm


def unit_gradients(alpha: Tensor, beta: Tensor, worth: Tensor, pull: Pull) -> tuple[Tensor, Tensor]:
    """Gradients of loss + lambda * R at alpha and at beta.

    Args:
        alpha: Shape ``(gates,)``.
        beta: Scalar.
        worth: Gradient of the loss at each gate, shape ``(gates,)``.
        pull: lambda, R and the form of the gates.
    """
    with torch.enable_grad():
        alpha, beta = alpha.detach().requires_grad_(), beta.detach().requires_grad_()
        gates = unit_gates(alpha, beta, pull.form, pull.flow)
        total = (gates * worth).sum() + pull.strength * quasi_norm(gates, pull.p)
        of_alpha, of_beta = torch.autograd.grad(total, (alpha, beta))
    return of_alpha, of_beta


def largest_beta(sizes: Tensor) -> Tensor:
    """The beta at which sig(beta) is ``GUARD`` times the largest share, a scalar.

    Args:
        sizes: >= 0, not all zero.
    """
    return highest_beta(sizes.max(), sizes.sum())


def highest_beta(largest: Tensor, sum_of_sizes: Tensor) -> Tensor:
    """The same beta, from the largest size and their sum."""
    return torch.logit(GUARD * largest / sum_of_sizes)


def first_beta(num_sizes: int) -> float:
    """The beta at which the threshold is ``FIRST_THRESHOLD`` times the mean of so many sizes."""
    share = FIRST_THRESHOLD / num_sizes
    return math.log(share / (1 - share))


def first_alpha() -> float:
    """The alpha that all gates need to be one at ``first_beta``."""
    return -math.log(1 - FIRST_THRESHOLD)


def first_weights(weights: Tensor) -> Tensor:
    """True weights of which ``weights`` are shown at ``first_beta``."""
    threshold = weights.abs().mean() * FIRST_THRESHOLD / (1 - FIRST_THRESHOLD)
    return weights + weights.sign() * threshold

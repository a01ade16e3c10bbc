"""Entries of parameters that stay zero while the rest trains."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from compressor.sparsity.candidates import Candidates, Tensors

MOMENTUM = ("momentum_buffer", "exp_avg")
"""Where PyTorch's optimisers remember the direction of earlier steps.

Second moments are no direction: they go on measuring the gradient, also where nothing moves.
"""


def entry_factors(
    candidates: Iterable[Candidates], keep: Mapping[str, Tensor], tensors: Tensors
) -> dict[str, Tensor]:
    """Zero at the entries of candidates that are left out, else one; by parameter name.

    Args:
        candidates: Of any level.
        keep: A mask for each candidates' name, of their shape.
        tensors: The parameters; factors have their dtype, layout and device.
    """
    factors: dict[str, Tensor] = {}
    for some in candidates:
        for name in some.tensors:
            factors.setdefault(name, torch.ones_like(tensors[name].detach()))
        some.multiply_(factors, keep[some.name])
    return factors


@torch.no_grad()
def hold_(tensors: Tensors, factors: Tensors, optimizer: torch.optim.Optimizer) -> None:
    """Multiply parameters, and the momentum that the optimiser has for them, by their factors.

    Called after each step it holds what is left out at zero: without momentum, which would go on
    pushing there and jump as soon as an entry returns.

    Args:
        tensors: Parameters by name.
        factors: Of ``entry_factors``.
        optimizer: What moves the parameters.
    """
    held = [(tensors[name], factor) for name, factor in factors.items()]
    for parameter, factor in tuple(held):
        state = optimizer.state.get(parameter, {})
        buffers = (state.get(key) for key in MOMENTUM)
        held += [(buffer, factor) for buffer in buffers if buffer is not None]
    if held:
        torch._foreach_mul_([entry for entry, _ in held], [factor for _, factor in held])

"""A network cut by a plan whose weights were drawn at full width, as if drawn for its own."""

import math

import torch
from torch import nn

from compressor.couplings.coupling import named_tensors
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan


@torch.no_grad()
def apply_as_drawn(plan: StripPlan, full: nn.Module) -> nn.Module:
    """The slim network with the weights of ``full``, as large as if drawn for its width.

    Initialisations draw weights in inverse proportion to the root of the inputs of a filter, and a
    cut network has fewer of them.

    Args:
        plan: What is kept.
        full: The network with fresh weights; not touched.

    Raises:
        StripError: The plan was made for another network.
    """
    model, before = apply(plan, full), named_tensors(full)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.mul_(math.sqrt(before[name][0].numel() / weight[0].numel()))
    return model

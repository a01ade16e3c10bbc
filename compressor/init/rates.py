"""Batch size, learning rates and optimiser: what suits the network, its weights and the data."""

import math
import os
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.init.network import CHANNELS, Network

STEPS_PER_EPOCH = 40
"""Of an epoch at least, where there are pictures for it: norms and path need them."""

LARGEST_BATCH, SMALLEST_BATCH = 128, 8

PASS_FACTOR = 3
"""Memory of a training step over that of the outputs of one forward pass: kept, gradient, work."""

MEMORY_SHARE = 0.5
"""Of what is free now; the rest is for data, optimiser and others."""

SGD_LR_OF = 128
"""Images of the batch that the rates below are for; they fall with the root of smaller ones."""

SGD_SCRATCH, SGD_SEARCH, SGD_TUNE = 0.1, 0.01, 0.005
"""From scratch; searching from weights, a tenth of it, so that they move and are not lost; and
tuning from weights. ImageNet's MobileNetV2 on ten classes, halved and tuned with 32 pictures a
step, got 76.0 % at 0.0025, which is what this comes to, and 75.5 % at twice that; from another
search 72 % at four times and 45 % at eight times it (docs/given-photos.md)."""

ADAMW_SCRATCH, ADAMW_SEARCH, ADAMW_TUNE = 1e-3, 1e-4, 2e-4
"""Networks without batch norm, transformers say, do not bear the rates of SGD."""

SGD_DECAY, ADAMW_DECAY = 5e-4, 0.05
FINE_DECAY = 1e-4
"""Of weights that are trained already."""


@dataclass(frozen=True)
class Rates:
    """How weights move.

    Attributes:
        optimizer: As in the recipe.
        batch_size: Images of a step.
        memory: What a step of them takes, estimated, in bytes.
        search: Learning rate of the search.
        tune: Of tuning.
        dense: Of the dense network.
        weight_decay: Of all three.
    """

    optimizer: Literal["sgd", "adamw"]
    batch_size: int
    memory: int
    search: float
    tune: float
    dense: float
    weight_decay: float


def choose_rates(network: Network, side: int, num_train: int) -> Rates:
    """Rates for ``num_train`` pictures of ``side`` pixels."""
    per_image = PASS_FACTOR * _output_bytes(network.model, side)
    batch = _batch_size(num_train, per_image)
    trained, memory = network.is_trained, per_image * batch
    if not network.normalises_batches:
        search, tune = (ADAMW_SEARCH, ADAMW_TUNE) if trained else (ADAMW_SCRATCH, ADAMW_SCRATCH)
        return Rates("adamw", batch, memory, search, tune, search, ADAMW_DECAY)
    part = rate_part(batch)
    search, tune = (SGD_SEARCH, SGD_TUNE) if trained else (SGD_SCRATCH, SGD_SCRATCH)
    decay = FINE_DECAY if trained else SGD_DECAY
    search, tune = (round(rate * part, 6) for rate in (search, tune))
    # A new head has to be found first, so the dense network moves like one that is searched.
    return Rates("sgd", batch, memory, search, tune, search, decay)


def rate_part(batch_size: int) -> float:
    """What the rate of SGD is multiplied by at this batch size."""
    return math.sqrt(batch_size / SGD_LR_OF)


def _batch_size(num_train: int, bytes_per_image: int) -> int:
    fitting = MEMORY_SHARE * _free_memory() / max(bytes_per_image, 1)
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and (num_train // size < STEPS_PER_EPOCH or size > fitting):
        size //= 2
    return max(2, min(size, num_train))


def _free_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@torch.no_grad()
def _output_bytes(model: nn.Module, side: int) -> int:
    """Bytes of the outputs of all layers for one picture."""
    total = 0

    def note(_module: nn.Module, _inputs: object, outputs: object) -> None:
        nonlocal total
        if isinstance(outputs, Tensor):
            total += outputs.numel() * outputs.element_size()

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(note) for module in leaves]
    try:
        model.eval()(torch.zeros(1, CHANNELS, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return total

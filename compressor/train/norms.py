"""Re-estimating batch norm statistics, the first thing a freshly stripped network needs."""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from compressor.strip.graph import CapturedNetwork


@torch.no_grad()
def reestimate_norms(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Replace all batch norm statistics of ``model`` by plain averages over ``inputs``.

    Each batch weighs the same. Modes and momenta are as before afterwards; without batch norms, or
    without inputs, the model is left alone.
    """
    if isinstance(model, CapturedNetwork):
        model.average_norms_(inputs)
        return
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    batches = iter(inputs)
    first = next(batches, None)
    if not norms or first is None:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    for batch in itertools.chain([first], batches):
        model(batch)
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode

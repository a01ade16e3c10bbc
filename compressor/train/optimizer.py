"""The optimiser of a stage, and its state after a checkpoint."""

import torch
from torch import Tensor, nn

from compressor.train.settings import OptimiserSettings


def make_optimizer(model: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """SGD or AdamW; tensors of one dimension (norms, biases) have no weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)


def lay_out_as_parameters_(optimizer: torch.optim.Optimizer) -> None:
    """Give momentum the memory layout of its parameter, which no file keeps; values stay."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

"""The optimiser of a stage, and its state after a checkpoint."""

import torch
from torch import Tensor, nn

from compressor.train.settings import OptimiserSettings


def make_optimizer(model: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """SGD or AdamW; tensors of one dimension (norms, biases) have no weight decay."""
    decayed, others = _groups(model)
    groups = [
        {"params": list(decayed.values()), "weight_decay": settings.weight_decay},
        {"params": list(others.values()), "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)


def parameter_names(model: nn.Module) -> list[str]:
    """Names of the parameters by their number in the state of the optimiser."""
    return [name for group in _groups(model) for name in group]


def _groups(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Parameters with weight decay and those without, by name."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = {name: p for name, p in trained.items() if p.dim() > 1}
    return decayed, {name: p for name, p in trained.items() if name not in decayed}


def lay_out_as_parameters_(optimizer: torch.optim.Optimizer) -> None:
    """Give momentum the memory layout of its parameter, which no file keeps; values stay."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

"""A captured graph without data, kept to be filled with the tensors of a network at need."""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from compressor.couplings.coupling import named_tensors


def hollow_graph(program: ExportedProgram, model: nn.Module) -> fx.GraphModule:
    """The graph as a module whose tensors, where ``model`` has them, are without data."""
    module = program.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    put_tensors_(module, {name: held.to("meta") for name, held in named_tensors(model).items()})
    return module


def number_type(model: nn.Module) -> torch.dtype:
    """Type of the parameters of a network: the exporter writes types into its graph."""
    dtypes = (tensor.dtype for tensor in model.parameters() if tensor.is_floating_point())
    return next(dtypes, torch.float32)


def put_tensors_(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put each tensor where ``module`` has one of that name; what was shared stays shared."""
    put: dict[int, Tensor] = {}
    for prefix, owner in module.named_modules():
        for held in (owner._parameters, owner._buffers):
            for attribute, old in held.items():
                name = f"{prefix}.{attribute}" if prefix else attribute
                if old is not None and name in tensors:
                    value = tensors[name]
                    if isinstance(old, nn.Parameter):
                        value = nn.Parameter(value, requires_grad=value.is_floating_point())
                    held[attribute] = put.setdefault(id(old), value)

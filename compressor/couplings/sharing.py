"""A copy of a network that shares the storage of its parameters, for looking at large networks."""

import copy
from typing import Any

from torch import nn


def sharing_copy(model: nn.Module) -> nn.Module:
    """A copy with parameters of its own that share their storage with those of ``model``.

    Modules, attributes and buffers are copied. Parameters may be converted, moved, replaced or told
    to require gradients without any effect on ``model``; whoever writes into one in place writes
    into both.
    """
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach(), parameter.requires_grad)
        for parameter in model.parameters()
        # Other types, the uninitialised one of lazy layers say, know themselves how to be copied.
        if type(parameter) is nn.Parameter
    }
    return copy.deepcopy(model, memo)

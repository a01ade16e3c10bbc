"""The one run of a network that tracing looks at: on a copy, observed, and without decisions.

A trace records what happened to one batch. It holds for other images only if the forward pass does
the same to all of them.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode

from compressor.couplings.coupling import named_tensors
from compressor.errors import CouplingError


@dataclass
class Place:
    """Where tracing is, for messages."""

    name: str = "the copy of the network"


def traceable_copy(model: nn.Module, place: Place) -> nn.Module:
    """A copy in eval mode, all of it with gradients, that tells ``place`` which module runs."""
    twin = copy.deepcopy(model)
    make_traceable_(twin, place)
    return twin


def make_traceable_(model: nn.Module, place: Place) -> None:
    """Put ``model`` in eval mode, all of it with gradients, and let it tell which module runs.

    Raises:
        CouplingError: A layer has no width yet.
    """
    model.eval()
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise CouplingError(
                f"{name} has no shape yet, since its layer is a lazy one. "
                "Run the network once on its example input, then use it."
            )
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)
    for name, module in model.named_modules():
        module.register_forward_pre_hook(_tell(place, name or "the forward pass"))


def _tell(place: Place, name: str) -> Callable[[nn.Module, Any], None]:
    def tell(_module: nn.Module, _inputs: Any) -> None:
        place.name = name

    return tell


def run_forward(place: Place, model: nn.Module, example: Tensor) -> Tensor:
    """Output of ``model`` for ``example``.

    Raises:
        CouplingError: It is not one tensor that depends on the parameters, or the forward pass
            depends on the values of tensors.
    """
    with _NoDecisions(model, place):
        output = model(example)
    if not isinstance(output, Tensor):
        raise CouplingError(
            f"The network returns a {type(output).__name__}. Give it a forward that returns one "
            "tensor."
        )
    if output.grad_fn is None:
        raise CouplingError(
            "No gradient leads from the output of the network back to a parameter. Use a network "
            "with layers, and without detach or no_grad around them."
        )
    return output


class _NoDecisions(TorchFunctionMode):
    """Refuses to turn a tensor that the network computes into a Python number."""

    _FORBIDDEN = frozenset(
        {
            Tensor.__bool__,
            Tensor.__int__,
            Tensor.__float__,
            Tensor.__index__,
            Tensor.item,
            Tensor.tolist,
        }
    )

    def __init__(self, model: nn.Module, place: Place) -> None:
        super().__init__()
        # What a network holds is a constant of its forward pass, and may decide what it likes.
        self._constants = {id(tensor) for tensor in named_tensors(model).values()}
        self._place = place

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self._FORBIDDEN and id(args[0]) not in self._constants:
            raise CouplingError(
                f"The forward pass reads the value of a tensor ({func.__name__} in or after "
                f"{self._place.name}), so it may do something else for other images. "
                "Use tensor code such as torch.where."
            )
        return func(*args, **(kwargs or {}))

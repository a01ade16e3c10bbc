"""A method's way into the optimiser's step."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from compressor.errors import TrainError


class StepHooks:
    """Calls a method before and after each step that the optimiser really takes, without gradients.

    A step that AMP skips calls nothing. Refused are a step with a closure, which runs the network
    again behind the method's back, and a fused one under a gradient scaler.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        """Hook ``optimizer``.

        Raises:
            TrainError: The optimiser only steps through a closure.
        """
        if isinstance(optimizer, torch.optim.LBFGS):
            raise _closure(optimizer)
        self._before, self._after = before, after
        self._handles = [
            optimizer.register_step_pre_hook(self._pre),
            optimizer.register_step_post_hook(self._post),
        ]

    @torch.no_grad()
    def _pre(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # The first of args is the optimiser itself.
        if any(value is not None for value in (*args[1:], kwargs.get("closure"))):
            raise _closure(optimizer)
        if getattr(optimizer, "found_inf", None) is not None:
            raise TrainError(
                f"{type(optimizer).__name__} is fused, and unscales gradients and skips steps "
                "inside itself, unseen. Make it with fused = False, or train without a scaler."
            )
        self._before()

    @torch.no_grad()
    def _post(self, *_: Any) -> None:
        self._after()

    def remove(self) -> None:
        """Call nothing any more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def groups_of(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], use: str
) -> dict[str, int]:
    """Place of the optimiser's group that each parameter is in, by name.

    Args:
        optimizer: The optimiser.
        parameters: By name.
        use: What is done with them, for the message; it goes on with the parameter's name.

    Raises:
        TrainError: The optimiser does not move one of them.
    """
    places = {
        id(parameter): place
        for place, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
    }
    for name, parameter in parameters.items():
        if id(parameter) not in places:
            raise TrainError(
                f"{use} {name}, which is not in the optimiser. Give the optimiser all parameters "
                "of the model, or choose a level or method that leaves this one alone."
            )
    return {name: places[id(parameter)] for name, parameter in parameters.items()}


def _closure(optimizer: torch.optim.Optimizer) -> TrainError:
    return TrainError(
        f"{type(optimizer).__name__} steps through a closure, which evaluates the network several "
        "times in one step; sparse training needs one. Use SGD or AdamW, without a closure."
    )

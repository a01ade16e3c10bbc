"""Parameters that show the network something else than the optimiser moves."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from compressor.errors import TrainError


class Veil:
    """The true values of some parameters, while the parameters show masked or gated ones.

    The network runs on what is shown, so its parameters, its checkpoints and its accuracy are those
    of the sparse network; the optimiser moves the true values, with its momentum and weight decay.

    Attributes:
        true: Copies of the true values, by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = dict(parameters)
        self.true = {name: p.detach().clone() for name, p in self._parameters.items()}

    def gradients(self) -> dict[str, Tensor]:
        """Gradients at what is shown; zeros where a parameter has none."""
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self._parameters.items()
        }

    def lift_(self) -> None:
        """Put the true values into the parameters, for the optimiser's step."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.true[name])

    def drop_(self, show_: Callable[[Mapping[str, Tensor]], None]) -> None:
        """Remember the parameters as true values, then let ``show_`` change them in place."""
        for name, parameter in self._parameters.items():
            self.true[name].copy_(parameter)
        show_(self._parameters)

    def state_dict(self) -> dict[str, Any]:
        """The true values."""
        return dict(self.true)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from copies of the true values; what is shown lies in the network's own state.

        Raises:
            TrainError: They are of another network.
        """
        for name, value in self.true.items():
            saved = state.get(name)
            if saved is None or saved.shape != value.shape:
                raise TrainError(
                    f"{name}: the checkpoint has no true value of shape {tuple(value.shape)}. "
                    "Resume with the network and settings that it was saved from."
                )
            value.copy_(saved)

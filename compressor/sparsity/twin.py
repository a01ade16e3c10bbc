"""One coupling's twin: the split linearised Bregman iteration on its units, and their entries."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from compressor.couplings.coupling import Member, gather
from compressor.sparsity.prox import group_soft_threshold
from compressor.structure import NEVER


class TwinState(NamedTuple):
    """One coupling's twin.

    Attributes:
        dual: Z, shape ``(units, entries)``.
        gamma: Gamma, same shape.
    """

    dual: Tensor
    gamma: Tensor


def split_lbi_step(
    weights: Tensor, state: TwinState, alpha: float, nu: float, threshold: float, kappa: float = 1.0
) -> tuple[TwinState, Tensor]:
    """One step of the twin, and the pull on the weights.

    Args:
        weights: W_k, shape ``(units, entries)``.
        state: Z_k and Gamma_k.
        alpha: Step size, > 0; the optimiser's learning rate over ``kappa``.
        nu: Inverse coupling strength, > 0.
        threshold: lambda * w_g, > 0.
        kappa: Damping, > 0.

    Returns:
        Z_{k+1} with Gamma_{k+1}, and D_k: the weights still have to move by ``-kappa alpha D_k``.
    """
    pull = (weights - state.gamma) / nu
    dual = state.dual + alpha * pull
    gamma = kappa * group_soft_threshold(dual, threshold)
    return TwinState(dual, gamma), pull


class Twin:
    """Z and Gamma beside the weights that carry them, and when each unit entered.

    Attributes:
        members: The slices that carry the twin.
        threshold: lambda * w_g.
        state: Z_k and Gamma_k.
        time: Path time so far, the sum of the step sizes alpha.
        entry_step: int64, shape ``(units,)``: step of entry (from 1), or ``NEVER``.
        entry_time: float64, shape ``(units,)``: path time of entry, or infinity.
    """

    def __init__(
        self, members: tuple[Member, ...], tensors: Mapping[str, Tensor], threshold: float
    ) -> None:
        self.members, self.threshold = members, threshold
        self._tensors = tensors
        weights = self.weights()
        self.state = TwinState(torch.zeros_like(weights), torch.zeros_like(weights))
        self.time = 0.0
        self.entry_step = weights.new_full((len(weights),), NEVER, dtype=torch.int64)
        self.entry_time = weights.new_full((len(weights),), torch.inf, dtype=torch.float64)
        self._pull = torch.zeros_like(weights)

    @property
    def support(self) -> Tensor:
        """Units whose Gamma is not zero, bool, shape ``(units,)``."""
        return (self.state.gamma != 0).any(dim=1)

    def weights(self) -> Tensor:
        """W of now, a copy, shape ``(units, entries)``."""
        return gather(self._tensors, self.members)

    def advance(self, step: int, alpha: float, nu: float, kappa: float) -> None:
        """Z, Gamma and the pull of optimiser step ``step``, from the weights before it."""
        self.state, self._pull = split_lbi_step(
            self.weights(), self.state, alpha, nu, self.threshold, kappa
        )
        self.time += alpha
        entered = self.support & (self.entry_step == NEVER)
        self.entry_step.masked_fill_(entered, step)
        self.entry_time.masked_fill_(entered, self.time)

    def state_dict(self) -> dict[str, Any]:
        """Z, Gamma, threshold, clock and entries."""
        return {
            "dual": self.state.dual,
            "gamma": self.state.gamma,
            "threshold": self.threshold,
            "time": self.time,
            "entry_step": self.entry_step,
            "entry_time": self.entry_time,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from copies of what ``state_dict`` gave."""
        device = self.state.dual.device
        self.state = TwinState(
            state["dual"].to(device, copy=True), state["gamma"].to(device, copy=True)
        )
        self.threshold, self.time = state["threshold"], state["time"]
        self.entry_step = state["entry_step"].to(device, copy=True)
        self.entry_time = state["entry_time"].to(device, copy=True)

    def pull_(self, rate: float) -> None:
        """Move the weights by ``-rate`` times the pull of the last ``advance``, in place."""
        start = 0
        for member in self.members:
            tensor = self._tensors[member.tensor]
            entries = tensor.numel() // tensor.shape[member.axis] * member.index.shape[1]
            member.add_rows_(tensor, self._pull[:, start : start + entries], alpha=-rate)
            start += entries

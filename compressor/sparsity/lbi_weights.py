"""Twins of single weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.sparsity.prox import soft_threshold
from compressor.sparsity.twin import Twin, Twins
from compressor.structure import NEVER


class WeightTwins(Twins):
    """Twins of which every single weight is a group.

    Nothing but Z is kept, unless epochs of entry are asked for: two bytes a weight.
    """

    def __init__(
        self,
        twins: Sequence[Twin],
        tensors: Mapping[str, Tensor],
        kappa: float,
        *,
        keep_epochs: bool = False,
    ) -> None:
        super().__init__(twins, tensors, kappa)
        self._epochs = (
            [torch.full_like(z, NEVER, dtype=torch.int16) for z in self._duals]
            if keep_epochs
            else []
        )

    def _gammas(self) -> list[Tensor]:
        gammas = [
            soft_threshold(z, twin.threshold)
            for z, twin in zip(self._duals, self._twins, strict=True)
        ]
        if self._kappa != 1:
            torch._foreach_mul_(gammas, self._kappa)
        return gammas

    def support(self, name: str) -> Tensor:
        """Weights whose Gamma is not zero, bool, of the parameter's shape."""
        return self.dual_norms(name) > self._twins[self.names.index(name)].threshold

    def dual_norms(self, name: str) -> Tensor:
        """|Z|, of the parameter's shape."""
        return self._duals[self.names.index(name)].abs()

    def weight_norms(self, name: str) -> Tensor:
        """|W|, of the parameter's shape."""
        part = self._parts[self.names.index(name)]
        return part.of(self._tensors[part.tensor]).abs()

    def entry_epochs(self, name: str, num_steps: int, num_epochs: int) -> Tensor:  # noqa: ARG002
        """Epoch at whose end each weight was first in the support."""
        return self._epochs[self.names.index(name)]

    def close_epoch(self, epoch: int) -> None:
        """Take note of what has entered by the end of ``epoch``."""
        for place, epochs in enumerate(self._epochs):
            epochs.masked_fill_(self.support(self.names[place]) & (epochs == NEVER), epoch)

    def state_dict(self, name: str) -> dict[str, Any]:
        """Z, threshold and clock of one twin, and epochs of entry where they are kept."""
        state = super().state_dict(name)
        if self._epochs:
            state["entry_epoch"] = self._epochs[self.names.index(name)]
        return state

    def load_state_dict(self, name: str, state: Mapping[str, Any]) -> None:
        """Go on from copies of what ``state_dict`` gave."""
        super().load_state_dict(name, state)
        if self._epochs:
            self._epochs[self.names.index(name)].copy_(state["entry_epoch"])

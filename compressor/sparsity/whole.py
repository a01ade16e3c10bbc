"""What methods have in common that keep every unit while training and rank the units at the end."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings
from compressor.sparsity.saved import check_method
from compressor.structure import Path, Structure


class WholeNetwork:
    """Trains the whole network without touching it; a subclass says how its units rank."""

    name: str
    level: str = "unit"

    def attach(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002  part of the protocol
        couplings: Couplings,
    ) -> None:
        """Remember what to rank."""
        self._model, self._couplings = model, couplings

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:
        """Score of each unit, by coupling; larger is kept first."""
        raise NotImplementedError

    def penalty(self) -> Tensor | None:
        """No penalty."""
        return None

    def structure(self) -> Structure:
        """Everything is kept."""
        return self._couplings.everything()

    def path(self) -> Path:
        """Scores of now; nothing ever enters."""
        return Path.of_scores(self.name, self.scores(self._model, self._couplings))

    def metrics(self) -> dict[str, float]:
        """Nothing to log."""
        return {}

    def notices(self) -> list[str]:
        """Nothing to say."""
        return []

    def detach(self) -> None:
        """Nothing to remove."""

    def state_dict(self) -> dict[str, Any]:
        """Whose state it is; there is no other."""
        return {"method": self.name, "level": self.level}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, which holds nothing.

        Raises:
            TrainError: It is of another method or level.
        """
        check_method(state, self.name, self.level)

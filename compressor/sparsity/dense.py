"""The method that does nothing: the dense baseline, and fine-tuning."""

from typing import Literal

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.whole import WholeNetwork


class DenseSettings(Settings):
    """No setting but the name."""

    method: Literal["dense"] = "dense"


class Dense(WholeNetwork):
    """Ordinary training; all units rank the same."""

    name = "dense"

    def __init__(self, settings: DenseSettings, horizon: Horizon) -> None:
        del settings, horizon  # nothing to set

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:  # noqa: ARG002
        """One for each unit."""
        return {coupling.name: torch.ones(coupling.num_units) for coupling in couplings.free}

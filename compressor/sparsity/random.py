"""Random units: the control that every ranking has to beat."""

from typing import Literal

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.whole import WholeNetwork


class RandomSettings(Settings):
    """No setting but the name; the draw follows the recipe's seed."""

    method: Literal["random"] = "random"


class Random(WholeNetwork):
    """Ordinary training; units rank by a seeded draw."""

    name = "random"

    def __init__(self, settings: RandomSettings, horizon: Horizon) -> None:
        del settings  # nothing to set
        self._seed = horizon.seed

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:  # noqa: ARG002
        """A permutation of 1 .. units for each coupling, the same at every call.

        A permutation rather than independent draws: a global cut then takes about the same share
        of every coupling.
        """
        generator = torch.Generator().manual_seed(self._seed)
        return {
            coupling.name: 1.0 + torch.randperm(coupling.num_units, generator=generator)
            for coupling in couplings.free
        }

"""Magnitude: units with the largest filters stay.

Li et al., Pruning Filters for Efficient ConvNets (2017), with the filters of a whole coupling taken
together, as the coupled layers of a residual network must be.
"""

from typing import Literal

from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors, unit_norms
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.whole import WholeNetwork


class MagnitudeSettings(Settings):
    """One shot at the end of ordinary training; no setting but the name."""

    method: Literal["magnitude"] = "magnitude"


class Magnitude(WholeNetwork):
    """Ordinary training; a unit ranks by the 2-norm of its filters in all producing layers."""

    name = "magnitude"

    def __init__(self, settings: MagnitudeSettings, horizon: Horizon) -> None:
        del settings, horizon  # nothing to set

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:
        """Joint filter norm of each unit."""
        tensors = named_tensors(model)
        return {
            coupling.name: unit_norms(tensors, coupling.of_kind("filter")).cpu()
            for coupling in couplings.free
        }

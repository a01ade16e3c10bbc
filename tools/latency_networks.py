"""Networks as the tool strips them: nothing trained, units in the order of their magnitude."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from torch import Tensor, nn

from compressor.count import count, layer_macs
from compressor.couplings.coupling import Couplings
from compressor.sparsity.base import Horizon
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings
from compressor.strip.apply import apply
from compressor.strip.cost import Cost
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.strip.trial import shake
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure

SEED = 0
PIXELS = 224


@dataclass(frozen=True)
class Network:
    """A network of three input channels.

    Attributes:
        build: Makes it, its weights drawn from torch's global generator.
        pixels: Height and width of its images.
    """

    build: Callable[[], nn.Module]
    pixels: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return 3, self.pixels, self.pixels


NETWORKS = {
    name: Network(partial(torchvision.models.get_model, name, weights=None), PIXELS)
    for name in ("resnet18", "mobilenet_v2")
}


@dataclass(frozen=True)
class Dense:
    """A network at full width, and what its stripping needs.

    Attributes:
        model: Random weights, random norm scales and shifts, statistics to match.
        couplings: What may be removed of it.
        cost: Its cost in MACs.
        path: The order of its units.
        example: Two images.
    """

    model: nn.Module
    couplings: Couplings
    cost: Cost
    path: UnitsPath
    example: Tensor

    @classmethod
    def of(cls, network: Network) -> "Dense":
        """The same at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            fresh = network.build()
            example = torch.randn(2, *network.image_shape)
        model = shake(fresh, example, SEED)
        couplings = find_couplings(model, example, "index-flow")
        # One shot of units needs no training: their norms are all there is to it.
        ranking = Magnitude(MagnitudeSettings(), Horizon(num_steps=1, path_time=1.0, seed=SEED))
        return cls(
            model=model,
            couplings=couplings,
            cost=Cost.of(model, couplings, layer_macs(model, example)),
            path=UnitsPath.of_scores(ranking.name, ranking.scores(model, couplings)),
            example=example,
        )

    def slim(self, structure: Structure) -> nn.Module:
        """The network that ``structure`` leaves, in eval mode."""
        return apply(make_plan(self.model, self.couplings, structure), self.model).eval()

    def macs(self, model: nn.Module) -> int:
        """MACs of ``model``, the dense or a slim one, for one image."""
        return count(model, self.example).macs

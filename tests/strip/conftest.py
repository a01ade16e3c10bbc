"""A residual network with norms, its couplings and its cost, for all tests of stripping."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.couplings.trace import trace
from compressor.strip.budget import Cost
from compressor.strip.trial import shake
from compressor.structure import Path, Structure


class Net(nn.Module):
    """A stem, a residual branch, a wider layer, a flattened classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(16)
        self.branch = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.wide = nn.Conv2d(16, 40, 3, stride=2, padding=1)
        self.wide_norm = nn.BatchNorm2d(40)
        self.head = nn.Linear(40 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.branch(x))
        x = torch.relu(self.wide_norm(self.wide(x)))
        return self.head(x.flatten(1))


def draw(num_images: int, seed: int) -> Tensor:
    return torch.randn(num_images, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def images() -> Tensor:
    return draw(4, seed=0)


@pytest.fixture
def make_net() -> Callable[[int], nn.Module]:
    """The network as it is built, from a seed."""

    def make(seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Net()

    return make


@pytest.fixture
def net(make_net: Callable[[int], nn.Module], images: Tensor) -> nn.Module:
    """The network with shaken norms, as if it were trained."""
    return shake(make_net(0), images, seed=1)


@pytest.fixture(scope="session")
def couplings(images: Tensor) -> Couplings:
    return trace(Net(), images)


@pytest.fixture
def cost(net: nn.Module, couplings: Couplings, images: Tensor) -> Cost:
    return Cost.of(net, couplings, layer_macs(net, images))


@pytest.fixture
def path(couplings: Couplings) -> Path:
    """Scores at random, those of the wide coupling a thousand times those of the other."""
    generator = torch.Generator().manual_seed(2)
    scale = {"stem": 1.0, "wide": 1000.0}
    scores = {
        c.name: scale[c.name] * torch.rand(c.num_units, generator=generator).double()
        for c in couplings.free
    }
    return Path.of_scores("planted", scores)


@pytest.fixture
def make_structure(couplings: Couplings) -> Callable[[int], Structure]:
    """A random half of the units of each coupling, at least one."""

    def make(seed: int) -> Structure:
        generator = torch.Generator().manual_seed(seed)
        keep = {}
        for coupling in couplings.free:
            keep[coupling.name] = torch.rand(coupling.num_units, generator=generator) < 0.5
            keep[coupling.name][0] = True
        return Structure(keep)

    return make

"""Networks in which a layer or a weight is used twice, or not at all."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .topology import Topology, Unit, conv, pooled


class CalledTwice(nn.Module):
    """The same block twice in a row: its outputs are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = Unit(3, 6), Unit(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.block(self.block(self.stem(x)))))


class CalledOnTwoBranches(nn.Module):
    """One layer on two different tensors, with layers of their own behind each call."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.shared = Unit(3, 6), Unit(3, 6), Unit(6, 5)
        self.after_left, self.after_right = conv(5, 4), conv(5, 4)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        left = self.after_left(self.shared(self.left(x)))
        right = self.after_right(self.shared(self.right(x)))
        return self.head(pooled(torch.cat([left, right], dim=1)))


class TwoNames(nn.Module):
    """One module under two names, called once through each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = Unit(3, 6), Unit(6, 6)
        self.alias = self.block
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.alias(self.block(self.stem(x)))))


class TiedWeights(nn.Module):
    """Two layers that share one parameter, in a network with other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = Unit(3, 6), conv(6, 6), conv(6, 6)
        self.second.weight = self.first.weight
        self.other, self.head = Unit(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(self.stem(x)))
        return self.head(pooled(self.other(functional.relu(self.second(x)))))


class UnusedModule(nn.Module):
    """A layer that no image passes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.unused, self.head = Unit(3, 6), conv(6, 9), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(x)))


SHARING: dict[str, Topology] = {
    "called twice": Topology(CalledTwice, {"stem.0": 6}),
    "called on two branches": Topology(
        CalledOnTwoBranches, {"left.0": 6, "shared.0": 5, "after_left": 4, "after_right": 4}
    ),
    "two names": Topology(TwoNames, {"stem.0": 6}),
    "tied weights": Topology(TiedWeights, {"stem.0": 6, "other.0": 5}),
    "unused module": Topology(UnusedModule, {"body.0": 6}),
}

"""What a toy network is expected to give, and the parts that such networks are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from compressor.couplings.coupling import Form, Heads

Shape = tuple[int, ...]
SecondEngine = Literal["agrees", "refuted", "no answer"]
"""What torch-pruning says. ``refuted``: it has couplings that cutting shows to be wrong."""

OUTPUT = "output of the network"
DOES_NOT_COME_BACK = "was stopped"
HEAD = {"head": OUTPUT}


def alone(images: Tensor) -> tuple[Any, ...]:
    """The arguments of a network that takes one batch of images."""
    return (images,)


@dataclass(frozen=True)
class Topology:
    """One way in which channels get coupled.

    Attributes:
        build: Makes the network.
        free: Units of each coupling that must be free, in order; after the layer that makes them.
        frozen: Couplings that must not be cut, each with a piece of the reason.
        shape: Shape of one image.
        form: The first form in which the network can be cut.
        heads: What shall leave attention.
        arguments: Images -> arguments of the network.
        cost: Whether the closed form of the cost is exact, or an upper bound: where channels are
            the rows that a layer works on (a token mixer), or two couplings share a product of
            activations, the slim network counts less.
        second_engine: What torch-pruning says of the same network.
        why: A piece of what it says where it gives no answer, or why its answer is wrong.
    """

    build: Callable[[], nn.Module]
    free: Mapping[str, int]
    frozen: Mapping[str, str] = field(default_factory=lambda: HEAD)
    shape: Shape = (3, 8, 8)
    form: Form = "module"
    heads: Heads = "whole"
    arguments: Callable[[Tensor], tuple[Any, ...]] = alone
    cost: Literal["exact", "upper bound"] = "exact"
    second_engine: SecondEngine = "agrees"
    why: str = ""


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def pooled(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


class Unit(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


class Between(nn.Module):
    """A stem of ``width`` channels, something that happens to them, a layer behind, a classifier.

    Args:
        between: A function or module, images to images.
        width: Channels before.
        after: Channels that it gives; as many as before unless given.
    """

    def __init__(
        self, between: Callable[[Tensor], Tensor], width: int = 6, after: int | None = None
    ) -> None:
        super().__init__()
        self.stem, self.between = Unit(3, width), between
        self.body, self.head = Unit(after or width, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(self.between(self.stem(x)))))

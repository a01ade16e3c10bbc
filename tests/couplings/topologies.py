"""Small networks, one for each way in which channels get coupled.

Every class draws one pattern and nothing else; a network takes images of ``shape`` and ends in a
linear layer or, where it says so, elsewhere. ``frozen`` names the couplings that must not be cut
and a piece of the reason; every other coupling must be free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Topology:
    build: Callable[[], nn.Module]
    free: tuple[str, ...]
    frozen: Mapping[str, str] = field(default_factory=dict)
    shape: Shape = (3, 8, 8)


OUTPUT = "output of the network"


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def pooled(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


class Unit(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


class Plain(nn.Sequential):
    """Biases and no norm."""

    def __init__(self) -> None:
        super().__init__(
            conv(3, 6, bias=True),
            nn.ReLU(),
            conv(6, 5, bias=True),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        )


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = Unit(3, 6), Unit(6, 5), Unit(5, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(pooled(functional.relu(x + self.second(self.first(x)))))


class ResidualWithProjection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.projection = Unit(3, 6), Unit(6, 8), Unit(6, 8)
        self.block, self.head = Unit(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.branch(x) + self.projection(x)
        return self.head(pooled(x + self.block(x)))


class NestedConcat(nn.Module):
    """A concatenation of concatenations, one tensor in it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = Unit(3, 4), Unit(4, 3), Unit(7, 5)
        self.last, self.head = conv(16, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        inner = torch.cat([a, self.b(a)], dim=1)
        outer = torch.cat([self.c(inner), inner, a], dim=1)
        return self.head(pooled(self.last(outer)))


class ConcatThenNorm(nn.Module):
    """As in DenseNet: one norm spans several couplings, and reads what later ones read again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = conv(3, 6), conv(6, 4), conv(10, 5)
        self.norm_first, self.norm_second = nn.BatchNorm2d(6), nn.BatchNorm2d(10)
        self.norm_last, self.head = nn.BatchNorm2d(15), nn.Linear(15, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.first(functional.relu(self.norm_first(x)))], dim=1)
        x = torch.cat([x, self.second(functional.relu(self.norm_second(x)))], dim=1)
        return self.head(pooled(functional.relu(self.norm_last(x))))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Unit(3, 8)
        self.squeeze, self.excite = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = functional.relu(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        return self.head(pooled(x * torch.sigmoid(self.excite(gate))))


class Depthwise(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            Unit(3, 6),
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(),
            conv(6, 8, 1),
            nn.BatchNorm2d(8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )


class Grouped(nn.Sequential):
    def __init__(self, groups: int = 2) -> None:
        super().__init__(
            Unit(3, 8),
            nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False),
            Unit(8, 6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )


class DepthMultiplier(nn.Sequential):
    """Depthwise with two filters for each channel."""

    def __init__(self) -> None:
        super().__init__(
            Unit(3, 4),
            nn.Conv2d(4, 8, 3, padding=1, groups=4),
            Unit(8, 6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )


class OneChannel(nn.Sequential):
    """A bottleneck of one channel: a coupling of one unit, which has to stay."""

    def __init__(self) -> None:
        super().__init__(
            Unit(3, 6), conv(6, 1), nn.Tanh(), conv(1, 5), nn.Flatten(), nn.Linear(320, 1)
        )


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


class Transposed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            Unit(3, 6),
            nn.ConvTranspose2d(6, 5, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            conv(5, 4),
            nn.Flatten(),
            nn.Linear(1024, 4),
        )


class Flattened(nn.Sequential):
    """Every channel becomes ``size * size`` inputs of a linear layer."""

    def __init__(self, size: int) -> None:
        super().__init__(
            Unit(3, 6),
            nn.AdaptiveAvgPool2d(size),
            nn.Flatten(),
            nn.Linear(6 * size * size, 7),
            nn.ReLU(),
            nn.Linear(7, 4),
        )


class Slopes(nn.Sequential):
    """A PReLU with one slope for each channel."""

    def __init__(self, num_parameters: int = 6) -> None:
        super().__init__(
            conv(3, 6),
            nn.BatchNorm2d(6),
            nn.PReLU(num_parameters),
            conv(6, 5),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        )


class Normed(nn.Module):
    """A norm over all channels: one channel less changes what the others become."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.stem, self.norm, self.body, self.head = conv(3, 6), norm, Unit(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(self.norm(self.stem(x)))))


class TokenNorm(nn.Module):
    """Layer norm over the channels of pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = Unit(3, 6), nn.LayerNorm(6)
        self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.hidden(self.norm(pooled(self.stem(x))))))


class BareScale(nn.Module):
    """A parameter of the network's own that runs along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.scale = Unit(3, 6), nn.Parameter(torch.rand(6, 1, 1))
        self.body, self.head = Unit(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(self.stem(x) * self.scale)))


class BareBuffer(nn.Module):
    """As before, but a buffer, which autograd does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = Unit(3, 6), Unit(6, 5), nn.Linear(5, 4)
        self.register_buffer("scale", torch.rand(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(self.stem(x) * self.scale)))


class AddsItsInput(nn.Module):
    """Channels added to the images themselves, which keep their width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Unit(3, 6), conv(6, 3)
        self.body, self.head = Unit(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(x + self.second(self.first(x)))))


class Chunked(nn.Module):
    """Two halves, one of them the gate of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = Unit(3, 8), Unit(4, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.stem(x).chunk(2, dim=1)
        return self.head(pooled(self.body(value * torch.sigmoid(gate))))


class ChunkedApart(nn.Module):
    """Two halves that go different ways, so that they could lose different numbers of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = Unit(3, 8), Unit(4, 5), Unit(4, 5)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        return self.head(pooled(torch.cat([self.left(left), self.right(right)], dim=1)))


class Split(nn.Module):
    """Split at points that are constants of the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = Unit(3, 8), Unit(3, 4), Unit(5, 4)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).split([3, 5], dim=1)
        return self.head(pooled(self.left(left) + self.right(right)))


class UnusedModule(nn.Module):
    """A layer that no image passes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.unused, self.head = Unit(3, 6), conv(6, 9), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(x)))


class SigmoidInBetween(nn.Sequential):
    """An activation that is not zero at zero: what reads a removed unit must be zeroed as well."""

    def __init__(self) -> None:
        super().__init__(
            conv(3, 6, bias=True),
            nn.Sigmoid(),
            conv(6, 5, bias=True),
            nn.BatchNorm2d(5),
            nn.Sigmoid(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 4),
        )


class MeanOverChannels(nn.Module):
    """What reads the channels is no layer, and its divisor is their number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Unit(3, 6), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).mean(dim=1).flatten(1))


class Shuffled(nn.Module):
    """A channel shuffle, whose reshape holds the number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = Unit(3, 8), Unit(8, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x.view(len(x), 2, 4, 8, 8).transpose(1, 2).reshape(len(x), 8, 8, 8)
        return self.head(pooled(self.body(x)))


class Sequence(nn.Sequential):
    """Convolutions and norms of one dimension."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(2, 6, 3, padding=1),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.ConvTranspose1d(6, 5, 2, stride=2),
            nn.Flatten(),
            nn.Linear(80, 4),
        )


class Perceptron(nn.Sequential):
    """No convolution at all; the norm is the one of linear layers."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(64, 7),
            nn.BatchNorm1d(7),
            nn.ReLU(),
            nn.Linear(7, 6),
            nn.Tanh(),
            nn.Linear(6, 3),
        )


TOPOLOGIES: dict[str, Topology] = {
    "plain": Topology(Plain, ("0", "2"), {"6": OUTPUT}),
    "residual": Topology(Residual, ("stem.0", "first.0"), {"head": OUTPUT}),
    "projection": Topology(ResidualWithProjection, ("stem.0", "branch.0"), {"head": OUTPUT}),
    "nested concat": Topology(NestedConcat, ("a.0", "b.0", "c.0", "last"), {"head": OUTPUT}),
    "concat then norm": Topology(ConcatThenNorm, ("stem", "first", "second"), {"head": OUTPUT}),
    "squeeze-excite": Topology(SqueezeExcite, ("stem.0", "squeeze"), {"head": OUTPUT}),
    "depthwise": Topology(Depthwise, ("0.0", "4"), {"8": OUTPUT}),
    "grouped": Topology(
        Grouped,
        ("2.0",),
        {"0.0": "1 is a convolution with 2 groups", "1": "convolution with 2 groups", "5": OUTPUT},
    ),
    "depth multiplier": Topology(
        DepthMultiplier,
        ("2.0",),
        {"0.0": "convolution with 4 groups", "1": "convolution with 4 groups", "5": OUTPUT},
    ),
    "one channel": Topology(OneChannel, ("0.0", "1", "3"), {"5": OUTPUT}),
    "called twice": Topology(CalledTwice, ("stem.0",), {"head": OUTPUT}),
    "called on two branches": Topology(
        CalledOnTwoBranches, ("left.0", "shared.0", "after_left", "after_right"), {"head": OUTPUT}
    ),
    "two names": Topology(TwoNames, ("stem.0",), {"head": OUTPUT}),
    "tied weights": Topology(
        TiedWeights,
        ("other.0",),
        {
            "stem.0": "first.weight is the same tensor as second.weight",
            "first": "ties two layers",
            "second": "ties two layers",
            "head": OUTPUT,
        },
    ),
    "transposed": Topology(Transposed, ("0.0", "1", "4"), {"6": OUTPUT}),
    "flatten 1": Topology(lambda: Flattened(1), ("0.0", "3"), {"5": OUTPUT}),
    "flatten 2": Topology(lambda: Flattened(2), ("0.0", "3"), {"5": OUTPUT}),
    "flatten 4": Topology(lambda: Flattened(4), ("0.0", "3"), {"5": OUTPUT}),
    "slopes": Topology(Slopes, ("0", "3"), {"6": OUTPUT}),
    "one slope": Topology(
        lambda: Slopes(1), ("3",), {"0": "2 is a PReLU with one slope", "6": OUTPUT}
    ),
    "group norm": Topology(
        lambda: Normed(nn.GroupNorm(2, 6)), ("body.0",), {"stem": "GroupNorm", "head": OUTPUT}
    ),
    "layer norm": Topology(
        TokenNorm, ("hidden",), {"stem.0": "norm is a LayerNorm", "head": OUTPUT}
    ),
    "instance norm": Topology(
        lambda: Normed(nn.InstanceNorm2d(6, affine=True)),
        ("body.0",),
        {"stem": "InstanceNorm2d", "head": OUTPUT},
    ),
    "bare scale": Topology(BareScale, ("body.0",), {"stem.0": "scale", "head": OUTPUT}),
    "bare buffer": Topology(BareBuffer, ("body.0",), {"stem.0": "does not run", "head": OUTPUT}),
    "adds its input": Topology(
        AddsItsInput, ("first.0", "body.0"), {"second": "does not run", "head": OUTPUT}
    ),
    "chunked": Topology(
        Chunked, ("body.0",), {"stem.0": "do not lie evenly in body.0", "head": OUTPUT}
    ),
    "chunked apart": Topology(
        ChunkedApart,
        ("left.0", "right.0"),
        {"stem.0": "do not lie evenly in", "head": OUTPUT},
    ),
    "split": Topology(Split, ("left.0",), {"stem.0": "do not lie evenly in", "head": OUTPUT}),
    "unused module": Topology(UnusedModule, ("body.0",), {"head": OUTPUT}),
    "one input channel": Topology(
        lambda: nn.Sequential(conv(1, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4)),
        ("0",),
        {"3": OUTPUT},
        (1, 8, 8),
    ),
    "sigmoid": Topology(SigmoidInBetween, ("0", "2"), {"7": OUTPUT}),
    "mean over channels": Topology(
        MeanOverChannels, (), {"stem.0": "does not run", "head": OUTPUT}
    ),
    "shuffled": Topology(Shuffled, ("body.0",), {"stem.0": "does not run", "head": OUTPUT}),
    "sequence": Topology(Sequence, ("0", "3"), {"5": OUTPUT}, (2, 8)),
    "perceptron": Topology(Perceptron, ("1", "4"), {"6": OUTPUT}, (1, 8, 8)),
}

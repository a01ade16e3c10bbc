"""Convolutional networks: residual, concatenated, grouped, transposed, shared."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .topology import HEAD, OUTPUT, Between, Topology, Unit, conv, pooled


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


class PaddedShortcut(nn.Module):
    """A shortcut of zeros for the channels that it lacks, as in the first ResNets (option A)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = Unit(3, 4), Unit(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shortcut = functional.pad(x, (0, 0, 0, 0, 2, 2))
        return self.head(pooled(functional.relu(shortcut + self.block(x))))


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


class ConcatWithConstant(nn.Module):
    """Two channels of coordinates beside those that are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = Unit(3, 6), Unit(8, 5), nn.Linear(5, 4)
        self.register_buffer("places", torch.rand(1, 2, 8, 8), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        places = self.places.expand(len(x), -1, -1, -1)
        return self.head(pooled(self.body(torch.cat([x, places], dim=1))))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(8, 3, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = functional.relu(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        return x * torch.sigmoid(self.excite(gate))


def sequential(groups: int, inputs: int, outputs: int) -> nn.Module:
    """A convolution in groups between two plain ones."""
    return Between(nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups), inputs, outputs)


class OneChannel(nn.Sequential):
    """A bottleneck of one channel, which has to stay, and one output."""

    def __init__(self) -> None:
        super().__init__(
            Unit(3, 6), conv(6, 1), nn.Tanh(), conv(1, 5), nn.Flatten(), nn.Linear(320, 1)
        )


class Transposed(nn.Sequential):
    def __init__(self, groups: int = 1) -> None:
        super().__init__(
            Unit(3, 6),
            nn.ConvTranspose2d(6, 4, 3, 2, padding=1, output_padding=1, groups=groups),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            conv(4, 5),
            nn.Flatten(),
            nn.Linear(1280, 4),
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


class UpsampledSkip(nn.Module):
    """As in a U-Net: up again, bilinear, beside what came before the way down; images out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.up = Unit(3, 6), Unit(6, 8), Unit(14, 5)
        self.head = conv(5, 2, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        low = self.down(functional.max_pool2d(x, 2))
        high = functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.up(torch.cat([x, high], dim=1)))


class Standardised(nn.Conv2d):
    """Each filter with mean zero and variance one."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = self.weight.std(dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (deviation + 1e-5)
        return functional.conv2d(x, weight, self.bias, padding=self.padding)


class AddsItsInput(nn.Module):
    """Channels added to the images themselves, which keep their width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Unit(3, 6), conv(6, 3)
        self.body, self.head = Unit(3, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(x + self.second(self.first(x)))))


def half_frozen() -> nn.Module:
    """A network of which the first part is not trained."""
    net = Residual()
    net.stem.requires_grad_(False)
    return net


CONVOLUTION: dict[str, Topology] = {
    "plain": Topology(Plain, {"0": 6, "2": 5}, {"6": OUTPUT}),
    "residual": Topology(Residual, {"stem.0": 6, "first.0": 5}),
    "half frozen": Topology(half_frozen, {"stem.0": 6, "first.0": 5}),
    "projection": Topology(ResidualWithProjection, {"stem.0": 6, "branch.0": 8}),
    "padded shortcut": Topology(
        PaddedShortcut,
        {"stem.0": 4},
        {"block.0": "keep their width", **HEAD},
        second_engine="refuted",
        why="it does not see where the padding begins",
    ),
    "nested concat": Topology(NestedConcat, {"a.0": 4, "b.0": 3, "c.0": 5, "last": 6}),
    "concat then norm": Topology(ConcatThenNorm, {"stem": 6, "first": 4, "second": 5}),
    "concat with a constant": Topology(ConcatWithConstant, {"stem.0": 6, "body.0": 5}),
    "squeeze-excite": Topology(
        lambda: Between(SqueezeExcite(), 8), {"stem.0": 8, "between.squeeze": 3, "body.0": 5}
    ),
    "depthwise": Topology(lambda: sequential(6, 6, 6), {"stem.0": 6, "body.0": 5}),
    "grouped 2": Topology(lambda: sequential(2, 8, 6), {"stem.0": 4, "between": 3, "body.0": 5}),
    "grouped 32": Topology(lambda: sequential(32, 64, 64), {"stem.0": 32, "body.0": 5}),
    "one channel": Topology(OneChannel, {"0.0": 6, "3": 5}, {}),
    "one input channel": Topology(
        lambda: nn.Sequential(conv(1, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4)),
        {"0": 6},
        {"3": OUTPUT},
        (1, 8, 8),
    ),
    "transposed": Topology(Transposed, {"0.0": 6, "1": 4, "4": 5}, {"6": OUTPUT}),
    "transposed in groups": Topology(
        lambda: Transposed(2), {"0.0": 3, "1": 2, "4": 5}, {"6": OUTPUT}
    ),
    "flatten 1": Topology(lambda: Flattened(1), {"0.0": 6, "3": 7}, {"5": OUTPUT}),
    "flatten 4": Topology(lambda: Flattened(4), {"0.0": 6, "3": 7}, {"5": OUTPUT}),
    "upsampled skip": Topology(UpsampledSkip, {"stem.0": 6, "down.0": 8, "up.0": 5}),
    "standardised weights": Topology(
        lambda: Between(Standardised(6, 8, 3, padding=1), 6, 8),
        {"between": 8, "body.0": 5},
        {"stem.0": "runs over them", **HEAD},
    ),
    "adds its input": Topology(
        AddsItsInput, {"first.0": 6, "body.0": 5}, {"second": "keep their width", **HEAD}
    ),
    "one dimension": Topology(
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3, padding=1),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.ConvTranspose1d(6, 5, 2, stride=2),
            nn.Flatten(),
            nn.Linear(80, 4),
        ),
        {"0": 6, "3": 5},
        {"5": OUTPUT},
        (2, 8),
    ),
}

"""Networks with norms that take statistics over channels, and with parameters of their own."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .topology import HEAD, Topology, Unit, conv, pooled


class Normed(nn.Module):
    """A norm on the outputs of a convolution, unless ``squash`` makes removed ones differ from 0.

    A group norm of few groups, say, can lose a channel only if that channel was zero.
    """

    def __init__(self, norm: nn.Module, width: int = 6, squash: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.norm, self.squash = conv(3, width, bias=True), norm, squash or nn.Identity()
        self.body, self.head = Unit(width, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.body(self.norm(self.squash(self.stem(x))))))


class LayerNorm2d(nn.LayerNorm):
    """Layer norm of the channels at each place, by way of channels last."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """As in ConvNeXt: linear layers along the last axis, norms and scales of layers with them."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.stem, self.depthwise = conv(3, 6), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.wide, self.narrow = norm, nn.Linear(6, 9), nn.Linear(9, 6)
        self.layer_scale = nn.Parameter(torch.full((6,), 0.1))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.narrow(functional.gelu(self.wide(inner)))
        return self.head(pooled(x + (self.layer_scale * inner).permute(0, 3, 1, 2)))


class TokenNorm(nn.Module):
    """Layer norm over the channels of pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = Unit(3, 6), nn.LayerNorm(6)
        self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.hidden(self.norm(pooled(self.stem(x))))))


class Held(nn.Module):
    """Multiplies by a tensor of its own that runs along the channels."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.tensor


class HeldBuffer(nn.Module):
    """As before, but a buffer, which autograd does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(6, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


KEEPS_WHOLE = "the norm runs over values that are not zero when masked"
BOTH = {"stem": 6, "body.0": 5}

NORMS: dict[str, Topology] = {
    "group norm, one group": Topology(lambda: Normed(nn.GroupNorm(1, 6)), BOTH),
    "group norm, two large groups": Topology(
        lambda: Normed(nn.GroupNorm(2, 8), 8), {"stem": 4, "body.0": 5}
    ),
    "group norm, many small groups": Topology(
        lambda: Normed(nn.GroupNorm(4, 8), 8), {"stem": 4, "body.0": 5}
    ),
    "group norm of what is not zero": Topology(
        lambda: Normed(nn.GroupNorm(2, 8), 8, nn.Sigmoid()),
        {"body.0": 5},
        {"stem": KEEPS_WHOLE, **HEAD},
    ),
    "instance norm": Topology(lambda: Normed(nn.InstanceNorm2d(6)), BOTH),
    "affine instance norm": Topology(lambda: Normed(nn.InstanceNorm2d(6, affine=True)), BOTH),
    "layer norm": Topology(TokenNorm, {"stem.0": 6, "hidden": 5}),
    "layer norm, channels last": Topology(
        lambda: ChannelsLast(nn.LayerNorm(6)), {"stem": 6, "wide": 9}
    ),
    "layer norm 2d": Topology(lambda: Normed(LayerNorm2d(6)), BOTH, form="graph"),
    "rms norm": Topology(lambda: ChannelsLast(nn.RMSNorm(6)), {"stem": 6, "wide": 9}),
    "slopes": Topology(lambda: Normed(nn.PReLU(6)), BOTH),
    "bare scale": Topology(lambda: Normed(Held(nn.Parameter(torch.rand(6, 1, 1)))), BOTH),
    "buffer": Topology(
        lambda: Normed(HeldBuffer()),
        BOTH,
        second_engine="refuted",
        why="autograd does not see a buffer",
    ),
    "constant": Topology(
        lambda: Normed(Held(torch.rand(6, 1, 1) + 0.5)),
        {"body.0": 5},
        {"stem": "keep their width", **HEAD},
    ),
}

"""MobileNetV2 for small images.

Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381, Table 2.
The stem and the second stage do not halve the image here, so that 32 pixels end as 4 x 4 and not as
1 x 1; strides have no parameters, so their number is that of the paper's network.
"""

import math

from torch import Tensor, nn

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Of each stage the expansion, channels, number of blocks, and stride of the first of them."""

STEM, LAST = 32, 1280
"""Channels of the first and of the last convolution."""

DIVISOR = 8
"""Channels are multiples of it, whatever the width."""


def _channels(wanted: float) -> int:
    """The multiple of ``DIVISOR`` next to ``wanted``, one up where that takes over a tenth away."""
    nearest = max(DIVISOR, math.floor(wanted / DIVISOR + 0.5) * DIVISOR)
    return nearest if nearest >= 0.9 * wanted else nearest + DIVISOR


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    ]


class InvertedResidual(nn.Module):
    """Widened by 1x1, filtered channel by channel, narrowed again without an activation."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = _convolution(inputs, hidden, 1) if expansion > 1 else []
        layers += _convolution(hidden, hidden, 3, stride, groups=hidden)
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(images, inputs, height, width)`` in, ``(images, outputs, ...)`` out."""
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals, a last convolution, the mean, a classifier."""

    def __init__(self, num_classes: int, in_channels: int, width: float, dropout: float) -> None:
        super().__init__()
        inputs = _channels(STEM * width)
        self.stem = nn.Sequential(*_convolution(in_channels, inputs, 3))
        blocks: list[nn.Module] = []
        for expansion, channels, num_blocks, stride in STAGES:
            outputs = _channels(channels * width)
            for place in range(num_blocks):
                blocks.append(
                    InvertedResidual(inputs, outputs, expansion, stride if place == 0 else 1)
                )
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        last = _channels(LAST * max(1.0, width))
        self.last = nn.Sequential(*_convolution(inputs, last, 1))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``; images of 8 pixels or more."""
        x = self.last(self.blocks(self.stem(images)))
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


def mobilenet_v2(
    num_classes: int, in_channels: int, width: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """2.24 million parameters for CIFAR-10; ``width`` is the paper's multiplier of channels."""
    net = MobileNetV2(num_classes, in_channels, width, dropout)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return net

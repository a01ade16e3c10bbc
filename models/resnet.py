"""Residual networks for small images: He et al., Deep Residual Learning, arXiv 1512.03385.

Those of section 4.2: three stages of 16, 32 and 64 channels with ``(depth - 2) / 6`` blocks each.
Where a stage begins the shortcut is a 1x1 convolution with batch norm (option B there).
"""

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(images, inputs, height, width)`` in, ``(images, outputs, ...)`` out."""
        residual = functional.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return functional.relu(residual + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, three stages of blocks, pooling, a classifier."""

    def __init__(self, blocks: int, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        widths = [max(1, round(channels * width)) for channels in WIDTHS]
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        stages, inputs = [], widths[0]
        for stage, outputs in enumerate(widths):
            for place in range(blocks):
                stages.append(Block(inputs, outputs, stride=2 if stage and not place else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``."""
        x = functional.relu(self.norm(self.stem(images)))
        return self.classifier(self.blocks(x).mean(dim=(2, 3)))


def resnet20(num_classes: int, in_channels: int, width: float = 1.0) -> ResNet:
    """20 layers; 0.27 million parameters for CIFAR-10. ``width`` multiplies the channels."""
    return ResNet(3, num_classes, in_channels, width)


def resnet32(num_classes: int, in_channels: int, width: float = 1.0) -> ResNet:
    """32 layers; 0.46 million parameters for CIFAR-10."""
    return ResNet(5, num_classes, in_channels, width)


def resnet56(num_classes: int, in_channels: int, width: float = 1.0) -> ResNet:
    """56 layers; 0.85 million parameters for CIFAR-10."""
    return ResNet(9, num_classes, in_channels, width)

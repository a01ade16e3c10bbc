"""Residual networks for small images: the one of the first recipes, and those of their paper.

He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2. Code and
paper differ in the shortcuts where a stage begins: for CIFAR the paper has option A, every second
place with zeros for the new channels, which has no parameters; here they are 1x1 convolutions with
batch norm, its option B, whose channels can be stripped like all others. At full width those of
``resnet20``, ``resnet32`` and ``resnet56`` have 2,752 parameters more than those of the paper.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


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


class ResidualNet(nn.Module):
    """A stem, a stage for each width (all but the first halve the image), pooling, a classifier."""

    def __init__(
        self,
        widths: Sequence[int],
        num_classes: int,
        in_channels: int,
        stem_stride: int = 1,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        stages, inputs = [], widths[0]
        for stage, outputs in enumerate(widths):
            for place in range(blocks):
                stages.append(Block(inputs, outputs, stride=2 if stage and not place else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``."""
        x = functional.relu(self.norm(self.stem(images)))
        return self.classifier(self.blocks(x).mean(dim=(2, 3)))


def residual_net(
    num_classes: int,
    in_channels: int,
    widths: Sequence[int] = (32, 64, 128),
    stem_stride: int = 1,
) -> ResidualNet:
    """Residual network with these widths; weights as PyTorch initialises them."""
    return ResidualNet(widths, num_classes, in_channels, stem_stride)


def resnet20(num_classes: int, in_channels: int, width: float = 1.0) -> ResidualNet:
    """20 layers, 272,474 parameters for CIFAR-10 (option B); ``width`` multiplies the channels."""
    return _of_paper(3, num_classes, in_channels, width)


def resnet32(num_classes: int, in_channels: int, width: float = 1.0) -> ResidualNet:
    """32 layers, 466,906 parameters for CIFAR-10 (option B); ``width`` multiplies the channels."""
    return _of_paper(5, num_classes, in_channels, width)


def resnet56(num_classes: int, in_channels: int, width: float = 1.0) -> ResidualNet:
    """56 layers, 855,770 parameters for CIFAR-10 (option B); ``width`` multiplies the channels."""
    return _of_paper(9, num_classes, in_channels, width)


def _of_paper(blocks: int, num_classes: int, in_channels: int, width: float) -> ResidualNet:
    widths = [max(1, round(channels * width)) for channels in (16, 32, 64)]
    net = ResidualNet(widths, num_classes, in_channels, blocks=blocks)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net

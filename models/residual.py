"""A small residual network for small images, the one of the project's first recipes."""

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
    """A stem, one block per width (all but the first halve the image), pooling, a classifier."""

    def __init__(
        self, widths: Sequence[int], num_classes: int, in_channels: int, stem_stride: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, stem_stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        inputs = (widths[0], *widths)
        self.blocks = nn.Sequential(
            *(
                Block(inputs[place], width, stride=1 if place == 0 else 2)
                for place, width in enumerate(widths)
            )
        )
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

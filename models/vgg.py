"""VGG with batch norm for small images.

Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv
1409.1556, in the two forms that papers on pruning use for CIFAR: ``vgg16`` with one hidden layer of
512 before the classifier (Li et al., arXiv 1608.08710), ``vgg19`` with none (Liu et al., Network
Slimming, arXiv 1708.06519).
"""

from collections.abc import Sequence

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the five stages."""


class VGG(nn.Module):
    """Stages of 3x3 convolutions with batch norm, halved in between, then the mean over places."""

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        num_classes: int,
        in_channels: int,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths):
            raise ValueError(f"{len(widths)} widths and {len(depths)} depths: give as many of both")
        layers: list[nn.Module] = []
        inputs = in_channels
        for stage, (outputs, depth) in enumerate(zip(widths, depths, strict=True)):
            layers += [nn.MaxPool2d(2)] if stage else []
            for _ in range(depth):
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        head: list[nn.Module] = []
        if hidden:
            head = [nn.Linear(inputs, hidden), nn.ReLU()]
            inputs = hidden
        self.head = nn.Sequential(*head)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``; five stages need images of 16 pixels."""
        return self.classifier(self.head(self.features(images).mean(dim=(2, 3))))


def vgg_net(
    num_classes: int,
    in_channels: int,
    widths: Sequence[int] = WIDTHS,
    depths: Sequence[int] = (1, 1, 2, 2, 2),
    hidden: int = 0,
) -> VGG:
    """VGG of any widths: so many convolutions with so many channels in each stage."""
    return _initialised(VGG(widths, depths, num_classes, in_channels, hidden))


def vgg16(num_classes: int, in_channels: int, width: float = 1.0) -> VGG:
    """13 convolutions, 14,986,698 parameters for CIFAR-10; ``width`` multiplies the channels."""
    hidden = max(1, round(512 * width))
    return vgg_net(num_classes, in_channels, _scaled(width), (2, 2, 3, 3, 3), hidden)


def vgg19(num_classes: int, in_channels: int, width: float = 1.0) -> VGG:
    """16 convolutions, 20,035,018 parameters for CIFAR-10; ``width`` multiplies the channels."""
    return vgg_net(num_classes, in_channels, _scaled(width), (2, 2, 4, 4, 4))


def _scaled(width: float) -> list[int]:
    return [max(1, round(channels * width)) for channels in WIDTHS]


def _initialised(net: VGG) -> VGG:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net

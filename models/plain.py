"""A small convolutional network without norms or shortcuts: the textbook case."""

from collections.abc import Sequence

from torch import Tensor, nn


class PlainNet(nn.Module):
    """One 3x3 convolution and pooling per width, then a classifier on the flattened image."""

    def __init__(
        self, widths: Sequence[int], num_classes: int, in_channels: int, size: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((in_channels, *widths), widths, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            size //= 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1] * size * size, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``."""
        return self.classifier(self.features(images).flatten(1))


def plain_net(
    num_classes: int, in_channels: int, widths: Sequence[int] = (16, 32), image_size: int = 8
) -> PlainNet:
    """Plain network for square images of ``image_size`` pixels."""
    return PlainNet(widths, num_classes, in_channels, image_size)

"""LeNet-5, the network of the first benchmark of handwritten digits.

LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86 (1998). As is
usual since, every map of the second convolution reads all of the first, pooling takes the maximum
and learns nothing, and the last layer is linear; the layers have the paper's names.
"""

from torch import Tensor, nn
from torch.nn import functional

FIELD = 32
"""Pixels on a side that the paper's first layer sees; a smaller image stands in its middle."""


class LeNet5(nn.Module):
    """Three 5x5 convolutions, the first two each followed by pooling, then two linear layers."""

    def __init__(self, num_classes: int, in_channels: int, width: float, image_size: int) -> None:
        super().__init__()
        if image_size > FIELD or image_size < FIELD - 8 or image_size % 2:
            raise ValueError(f"image_size is {image_size}: LeNet-5 takes 24, 26, 28, 30 or 32")
        first, second, third, fourth = (max(1, round(n * width)) for n in (6, 16, 120, 84))
        self.c1 = nn.Conv2d(in_channels, first, 5, padding=(FIELD - image_size) // 2)
        self.c3 = nn.Conv2d(first, second, 5)
        self.c5 = nn.Conv2d(second, third, 5)
        self.f6 = nn.Linear(third, fourth)
        self.classifier = nn.Linear(fourth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape ``(images, num_classes)``."""
        x = functional.max_pool2d(functional.relu(self.c1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.c3(x)), 2)
        x = functional.relu(self.c5(x)).flatten(1)
        return self.classifier(functional.relu(self.f6(x)))


def lenet5(num_classes: int, in_channels: int, width: float = 1.0, image_size: int = 28) -> LeNet5:
    """61,706 parameters for ten digits; ``width`` multiplies channels and hidden features."""
    return LeNet5(num_classes, in_channels, width, image_size)

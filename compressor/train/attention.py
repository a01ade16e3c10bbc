"""Attention maps: where in an image a stage of a network is active, whatever its channels.

Zagoruyko & Komodakis, Paying More Attention to Attention (2017), arXiv 1612.03928.
"""

import torch
from torch import Tensor
from torch.nn import functional

from compressor.errors import TrainError


def attention_map(activations: Tensor) -> Tensor:
    """Sum over channels of squared activations, scaled to 2-norm 1; shape ``(images, places)``.

    The number of channels leaves no trace in the shape, and a common factor of all activations of
    an image none in the values.

    Args:
        activations: Shape ``(images, channels, height, width)``, or with more axes of places, or
            ``(images, tokens, channels)``, the channels last as transformers have them. An image
            that is zero everywhere has a map of zeros.
    """
    channels = 2 if activations.dim() == 3 else 1
    energy = activations.float().square().sum(dim=channels)
    return functional.normalize(energy.flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over images of half the squared distance of two maps: 1 minus their cosine, in [0, 1].

    The paper's Eq. 2 has the distance itself, whose gradient jumps where maps are equal; its
    published code squares it too.

    Args:
        student: Maps, shape ``(images, places)``.
        teacher: Maps, same shape; no gradient goes there.

    Raises:
        TrainError: They have other shapes.
    """
    if student.shape != teacher.shape:
        raise TrainError(
            f"Maps of shape {list(student.shape)} and {list(teacher.shape)} cannot be compared. "
            "Name features with as many places in both networks."
        )
    gap = student - teacher.detach()
    return 0.5 * gap.square().sum(dim=1).mean()


def mean_attention_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean of ``attention_loss`` over stages, so that its size does not grow with their number."""
    losses = [attention_loss(a, b) for a, b in zip(student, teacher, strict=True)]
    return torch.stack(losses).mean()

"""Norms with a divisor of their own, as pure functions of tensors.

Where channels of a normalised axis are zero and are removed, the sums stay what they were, and only
the number they are divided by changes. With C entries before and K after, the share K / C is all
that is missing,

    mean     = K / C * mean_K
    variance = K / C * mean_K((x - mean)^2) + (1 - K / C) * mean^2

where mean_K is the ordinary mean over what is left, and the last term is what the C - K zeros add.
This form of the variance has no difference of large numbers, so it holds in half precision, unlike
mean_K(x^2) - mean^2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    divisor: int,
) -> Tensor:
    """Layer norm (Ba et al. 2016, equations 3 and 4) over the last axes with a divisor of its own.

    Args:
        x: Shape ``(..., *normalized_shape)``.
        normalized_shape: The axes that are left, as in ``torch.nn.functional.layer_norm``.
        weight: Scale, shape ``normalized_shape``, or None.
        bias: Shift, the same.
        eps: Added to the variance.
        divisor: Entries of ``normalized_shape`` before any was removed.

    Returns:
        Shape and type of ``x``; the statistics of half precision are taken in float32.
    """
    axes = tuple(range(-len(normalized_shape), 0))
    share = math.prod(normalized_shape) / divisor
    return _affine(_centred(_wide(x), axes, share, eps), weight, bias).to(x.dtype)


def channel_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, divisor: int
) -> Tensor:
    """Layer norm of each place of an image over its channels, with a divisor of its own.

    Args:
        x: Shape ``(images, channels, height, width)``.
        weight: Scale, shape ``(channels,)``, or None.
        bias: Shift, the same.
        eps: Added to the variance.
        divisor: Channels before any was removed.

    Returns:
        Shape and type of ``x``; the statistics of half precision are taken in float32.
    """
    normal = _centred(_wide(x), (1,), x.shape[1] / divisor, eps)
    return _affine(normal, _by_channel(weight, x), _by_channel(bias, x)).to(x.dtype)


def own_statistics_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, divisor: int
) -> Tensor:
    """Batch norm with the statistics of ``x`` itself, with a divisor of its own.

    Networks without other norms standardise their weights so, filter by filter.

    Args:
        x: Shape ``(batch, channels, ...)``.
        weight: Scale, shape ``(channels,)``, or None.
        bias: Shift, the same.
        eps: Added to the variance.
        divisor: Places of one channel of one batch entry before any was removed.

    Returns:
        Shape and type of ``x``; the statistics of half precision are taken in float32.
    """
    axes = (0, *range(2, x.dim()))
    normal = _centred(_wide(x), axes, math.prod(x.shape[2:]) / divisor, eps)
    return _affine(normal, _by_channel(weight, x), _by_channel(bias, x)).to(x.dtype)


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    divisor: int,
) -> Tensor:
    """Group norm (Wu and He 2018, equations 1, 2, 7) with a divisor of its own.

    Args:
        x: Shape ``(images, channels, ...)``.
        num_groups: Groups that are left, all with as many channels.
        weight: Scale, shape ``(channels,)``, or None.
        bias: Shift, the same.
        eps: Added to the variance.
        divisor: Channels of one group before any was removed.

    Returns:
        Shape and type of ``x``; the statistics of half precision are taken in float32.
    """
    share = x.shape[1] / num_groups / divisor
    groups = _wide(x).reshape(x.shape[0], num_groups, -1)
    normal = _centred(groups, (2,), share, eps).reshape(x.shape)
    return _affine(normal, _by_channel(weight, x), _by_channel(bias, x)).to(x.dtype)


def rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    eps: float | None,
    divisor: int,
) -> Tensor:
    """RMS norm (Zhang and Sennrich 2019, equation 4) over the last axes with its own divisor.

    Args:
        x: Shape ``(..., *normalized_shape)``.
        normalized_shape: The axes that are left.
        weight: Scale, shape ``normalized_shape``, or None.
        eps: Added to the mean square; None is the spacing of numbers at 1, as in torch.
        divisor: Entries of ``normalized_shape`` before any was removed.

    Returns:
        Shape and type of ``x``; the mean square of half precision is taken in float32.
    """
    wide = _wide(x)
    axes = tuple(range(-len(normalized_shape), 0))
    share = math.prod(normalized_shape) / divisor
    eps = torch.finfo(wide.dtype).eps if eps is None else eps
    normal = wide * torch.rsqrt(share * (wide * wide).mean(axes, keepdim=True) + eps)
    return _affine(normal, weight, None).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _centred(x: Tensor, axes: tuple[int, ...], share: float, eps: float) -> Tensor:
    """``x`` with mean 0 and variance 1 over ``axes``, were the removed zeros still among it."""
    mean = share * x.mean(axes, keepdim=True)
    rest = x - mean
    variance = share * (rest * rest).mean(axes, keepdim=True) + (1.0 - share) * (mean * mean)
    return rest * torch.rsqrt(variance + eps)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _by_channel(values: Tensor | None, x: Tensor) -> Tensor | None:
    return None if values is None else values.reshape(-1, *[1] * (x.dim() - 2))

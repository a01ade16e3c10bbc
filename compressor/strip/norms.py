"""Layer, group and RMS norms that keep the divisor of the network they were cut from.

A norm takes its statistics over channels. Those that are removed were zero, so only the divisor
changes, and a norm that keeps the old one makes the stripped network equal to the masked one again.
Engines have the ordinary norms as one operator: ``StripPlan.with_plain_norms`` has those instead,
at the price of a little tuning.
"""

import math

from torch import Tensor, nn

from compressor.errors import StripError
from compressor.strip.norm_functions import channel_norm, group_norm, layer_norm, rms_norm


class KeptLayerNorm(nn.LayerNorm):
    """A layer norm that goes on dividing by ``divisor``; parameters as in ``nn.LayerNorm``."""

    def __init__(self, norm: nn.LayerNorm, divisor: int) -> None:
        """Take over the parameters of ``norm``: the same tensors, so an optimiser keeps them."""
        super().__init__(norm.normalized_shape, norm.eps, elementwise_affine=False)
        self.elementwise_affine = norm.elementwise_affine
        self.weight, self.bias = norm.weight, norm.bias
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axes of ``x``."""
        shape = self.normalized_shape
        return layer_norm(x, shape, self.weight, self.bias, self.eps, self.divisor)

    def extra_repr(self) -> str:
        """As of the ordinary norm, and the divisor."""
        return f"{super().extra_repr()}, divisor={self.divisor}"


class KeptLayerNorm2d(KeptLayerNorm):
    """The same over the channels of images, as in ConvNeXt."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, shape ``(images, channels, height, width)``, at each place."""
        return channel_norm(x, self.weight, self.bias, self.eps, self.divisor)


class KeptGroupNorm(nn.GroupNorm):
    """A group norm that goes on dividing by ``divisor``; parameters as in ``nn.GroupNorm``."""

    def __init__(self, norm: nn.GroupNorm, divisor: int) -> None:
        """Take over the parameters of ``norm``: the same tensors, so an optimiser keeps them."""
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, affine=False)
        self.affine = norm.affine
        self.weight, self.bias = norm.weight, norm.bias
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, shape ``(images, channels, ...)``, group by group."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps, self.divisor)

    def extra_repr(self) -> str:
        """As of the ordinary norm, and the divisor."""
        return f"{super().extra_repr()}, divisor={self.divisor}"


class KeptRMSNorm(nn.RMSNorm):
    """An RMS norm that goes on dividing by ``divisor``; parameters as in ``nn.RMSNorm``."""

    def __init__(self, norm: nn.RMSNorm, divisor: int) -> None:
        """Take over the parameters of ``norm``: the same tensors, so an optimiser keeps them."""
        super().__init__(norm.normalized_shape, norm.eps, elementwise_affine=False)
        self.elementwise_affine = norm.elementwise_affine
        self.weight, self.divisor = norm.weight, divisor

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axes of ``x``."""
        return rms_norm(x, self.normalized_shape, self.weight, self.eps, self.divisor)

    def extra_repr(self) -> str:
        """As of the ordinary norm, and the divisor."""
        return f"{super().extra_repr()}, divisor={self.divisor}"


Kept = KeptLayerNorm | KeptGroupNorm | KeptRMSNorm

KEPT: dict[str, type[Kept]] = {
    "torch.nn.modules.normalization.LayerNorm": KeptLayerNorm,
    "torch.nn.modules.normalization.GroupNorm": KeptGroupNorm,
    "torch.nn.modules.normalization.RMSNorm": KeptRMSNorm,
    "torchvision.models.convnext.LayerNorm2d": KeptLayerNorm2d,
    "timm.layers.norm.LayerNorm": KeptLayerNorm,
    "timm.layers.norm.LayerNorm2d": KeptLayerNorm2d,
}
"""Norms by the full name of their class: timm need not be there, and torchvision takes seconds."""


def kept(layer: nn.Module, divisor: int) -> nn.Module:
    """The norm that does what ``layer`` does, but divides by ``divisor``; it shares its parameters.

    Args:
        layer: A norm that is cut already; one that keeps its divisor may be cut again.
        divisor: What ``divisor_of`` said of the norm before anything was removed.

    Raises:
        StripError: The layer is of another type, half cut, or has more entries than ``divisor``.
    """
    kind = type(layer) if isinstance(layer, Kept) else KEPT.get(_full_name(layer))
    if kind is None:
        raise _cannot_keep(layer)
    num_entries = _num_entries(layer)
    if num_entries > divisor:
        raise StripError(
            f"{layer} takes its statistics over {num_entries} entries, more than the divisor "
            f"{divisor}. Give the number of entries before anything was removed."
        )
    _check_parameters(layer)
    return kind(layer, divisor).train(layer.training)  # type: ignore[arg-type]


def divisor_of(layer: nn.Module) -> int:
    """What a norm divides by: entries of the normalised axes, of a group norm channels per group.

    Raises:
        StripError: The layer is of a type that ``kept`` does not know.
    """
    if isinstance(layer, Kept):
        return layer.divisor
    if _full_name(layer) not in KEPT:
        raise _cannot_keep(layer)
    return _num_entries(layer)


def _full_name(value: nn.Module) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _num_entries(layer: nn.Module) -> int:
    num_groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else 1
    return math.prod(_parameter_shape(layer)) // num_groups


def _parameter_shape(layer: nn.Module) -> tuple[int, ...]:
    if isinstance(layer, nn.GroupNorm):
        return (layer.num_channels,)
    assert isinstance(layer, nn.LayerNorm | nn.RMSNorm)
    return tuple(layer.normalized_shape)


def _check_parameters(layer: nn.Module) -> None:
    wanted = _parameter_shape(layer)
    for name, value in layer.named_parameters(recurse=False):
        if tuple(value.shape) != wanted:
            raise StripError(
                f"The {name} of {layer} has shape {tuple(value.shape)}, the layer says {wanted}. "
                "Cut its parameters and set its width first."
            )


def _cannot_keep(layer: nn.Module) -> StripError:
    return StripError(
        f"A {_full_name(layer)} cannot keep its divisor; {', '.join(KEPT)} can. "
        "Freeze the channels it normalises, or add a row to strip/norms.py."
    )

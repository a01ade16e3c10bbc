"""Which axis of which tensor of a layer holds its output channels, and which its inputs.

One row per layer type. A layer without a row freezes the couplings that reach it.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from compressor.couplings.coupling import Kind


class Slot(NamedTuple):
    """A tensor of a layer (attribute name), the axis of its channels, and what it holds."""

    attribute: str
    axis: int
    kind: Kind


class LayerAxes(NamedTuple):
    """Where the channels of a layer lie, and when the row does not hold.

    Attributes:
        outputs: Slots cut when an output channel goes.
        inputs: Slots cut when an input channel goes; empty for layers that pass channels through.
        refuse: Reason why a layer of this type cannot be cut, or None.
    """

    outputs: tuple[Slot, ...]
    inputs: tuple[Slot, ...]
    refuse: Callable[[nn.Module], str | None] = lambda _layer: None


def _refuse_groups(layer: nn.Module) -> str | None:
    assert isinstance(layer, nn.modules.conv._ConvNd)
    if layer.groups == 1 or is_depthwise(layer):
        return None
    return f"convolution with {layer.groups} groups"


def _refuse_any_groups(layer: nn.Module) -> str | None:
    # The weight of a grouped transposed convolution holds its input channels whole on axis 0 and
    # its output channels by group on axis 1, so one channel is not one slice.
    assert isinstance(layer, nn.modules.conv._ConvNd)
    return None if layer.groups == 1 else f"transposed convolution with {layer.groups} groups"


def is_depthwise(layer: nn.Module) -> bool:
    """True for a convolution that gives each channel its own filter."""
    return (
        isinstance(layer, nn.modules.conv._ConvNd)
        and layer.groups == layer.in_channels == layer.out_channels
        and layer.groups > 1
    )


def _refuse_single_slope(layer: nn.Module) -> str | None:
    assert isinstance(layer, nn.PReLU)
    return "PReLU with one slope for all channels" if layer.num_parameters == 1 else None


_BIAS = Slot("bias", 0, "bias")
_CONV = LayerAxes(
    (Slot("weight", 0, "filter"), _BIAS), (Slot("weight", 1, "input"),), _refuse_groups
)
_TRANSPOSED = LayerAxes(
    (Slot("weight", 1, "filter"), _BIAS), (Slot("weight", 0, "input"),), _refuse_any_groups
)
_NORM = LayerAxes(
    (
        Slot("weight", 0, "scale"),
        Slot("bias", 0, "shift"),
        Slot("running_mean", 0, "statistic"),
        Slot("running_var", 0, "statistic"),
    ),
    (),
)

AXES: dict[type[nn.Module], LayerAxes] = {
    nn.Conv1d: _CONV,
    nn.Conv2d: _CONV,
    nn.Conv3d: _CONV,
    nn.ConvTranspose1d: _TRANSPOSED,
    nn.ConvTranspose2d: _TRANSPOSED,
    nn.ConvTranspose3d: _TRANSPOSED,
    nn.Linear: LayerAxes((Slot("weight", 0, "filter"), _BIAS), (Slot("weight", 1, "input"),)),
    nn.BatchNorm1d: _NORM,
    nn.BatchNorm2d: _NORM,
    nn.BatchNorm3d: _NORM,
    nn.PReLU: LayerAxes((Slot("weight", 0, "statistic"),), (), _refuse_single_slope),
}


def axes_of(layer: nn.Module) -> LayerAxes | None:
    """The row for this very type, or None; a subclass may compute something else."""
    return AXES.get(type(layer))

"""How the attributes of each layer type follow from the shapes of its tensors.

One row per layer type; the axes themselves stand in ``couplings/axes.py``.
"""

from collections.abc import Callable

from torch import Tensor, nn

Attributes = dict[str, int | tuple[int, ...]]


def cuts_whole_groups(groups: int, inputs_per_group: int, outputs_per_group: int) -> bool:
    """Whether the units of a grouped layer are its groups, rather than places in all groups."""
    return groups >= max(inputs_per_group, outputs_per_group)


def _conv(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.conv._ConvNd)
    outputs, inputs_per_group = layer.weight.shape[:2]
    # The weight has lost channels, but the layer does not know it yet.
    groups, outputs_per_group = layer.groups, layer.out_channels // layer.groups
    if groups > 1 and cuts_whole_groups(groups, inputs_per_group, outputs_per_group):
        groups = outputs // outputs_per_group
    return {
        "out_channels": outputs,
        "in_channels": inputs_per_group * groups,
        "groups": groups,
    }


def _transposed(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.conv._ConvNd)
    inputs, outputs_per_group = layer.weight.shape[:2]
    return {"out_channels": outputs_per_group * layer.groups, "in_channels": inputs}


def _linear(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.Linear)
    return {"out_features": layer.weight.shape[0], "in_features": layer.weight.shape[1]}


def _norm(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.batchnorm._NormBase)
    # A norm without scale has statistics, and one without either is not cut at all.
    sized = layer.weight if layer.weight is not None else layer.running_mean
    return {} if sized is None else {"num_features": sized.shape[0]}


def _prelu(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.PReLU)
    return {"num_parameters": layer.weight.shape[0]}


def _layer_norm(layer: nn.Module) -> Attributes:
    weight = getattr(layer, "weight", None)
    return {} if weight is None else {"normalized_shape": tuple(weight.shape)}


def _group_norm(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.GroupNorm)
    weight: Tensor | None = getattr(layer, "weight", None)
    if weight is None:
        return {}
    channels, groups = weight.shape[0], layer.num_groups
    if not keeps_divisor(layer):
        groups = channels // (layer.num_channels // groups)
    return {"num_channels": channels, "num_groups": groups}


def keeps_divisor(layer: nn.Module) -> bool:
    """Whether units leave the channels over which this norm takes one statistic."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups < layer.num_channels // layer.num_groups
    return isinstance(layer, nn.LayerNorm | nn.RMSNorm)


def attributes_of(layer: nn.Module) -> Attributes:
    """What the attributes of ``layer`` become with the tensors that it has now; none if unknown."""
    for kind in type(layer).__mro__:
        if kind in ATTRIBUTES:
            return ATTRIBUTES[kind](layer)
    return {}


ATTRIBUTES: dict[type[nn.Module], Callable[[nn.Module], Attributes]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.ConvTranspose3d: _transposed,
    nn.Linear: _linear,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.BatchNorm3d: _norm,
    nn.InstanceNorm1d: _norm,
    nn.InstanceNorm2d: _norm,
    nn.InstanceNorm3d: _norm,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
}

"""How the attributes of each layer type follow from the shapes of its tensors.

One row per layer type; the axes themselves stand in ``couplings/axes.py``.
"""

from collections.abc import Callable

from torch import nn

from compressor.couplings.axes import is_depthwise

Attributes = dict[str, int]


def _conv(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.conv._ConvNd)
    outputs, inputs_per_group = layer.weight.shape[:2]
    # The weight of a depthwise layer has lost channels, but the layer does not know it yet.
    groups = outputs if _was_depthwise(layer) else layer.groups
    return {
        "out_channels": outputs,
        "in_channels": inputs_per_group * groups,
        "groups": groups,
    }


def _was_depthwise(layer: nn.modules.conv._ConvNd) -> bool:
    return is_depthwise(layer) and layer.weight.shape[1] == 1


def _transposed(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.conv._ConvNd)
    inputs, outputs = layer.weight.shape[:2]
    return {"out_channels": outputs, "in_channels": inputs}


def _linear(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.Linear)
    return {"out_features": layer.weight.shape[0], "in_features": layer.weight.shape[1]}


def _norm(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
    # A norm without scale has statistics, and one without either is not cut at all.
    sized = layer.weight if layer.weight is not None else layer.running_mean
    return {} if sized is None else {"num_features": sized.shape[0]}


def _prelu(layer: nn.Module) -> Attributes:
    assert isinstance(layer, nn.PReLU)
    return {"num_parameters": layer.weight.shape[0]}


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
    nn.PReLU: _prelu,
}

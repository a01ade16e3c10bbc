"""Parameters, multiply-accumulates and bytes of a model.

A MAC is one multiplication with its addition; what others call FLOPs is about twice that. Counted
are convolutions and linear layers, for one image; norms, activations and additions are not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

COUNTED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


@dataclass(frozen=True)
class Counts:
    """Size of a model: MACs for one image, parameters, bytes of parameters and buffers."""

    macs: int
    params: int
    bytes: int


def layer_macs(model: nn.Module, example: Tensor) -> dict[str, int]:
    """MACs of each convolution and linear layer for one image, by module name.

    A layer that is called twice counts twice; one that is not called is absent. The model is left
    as it was: same mode, no hook, no changed statistics.

    Args:
        model: Any module.
        example: Input batch, shape ``(images, ...)``.
    """
    macs: dict[str, int] = {}
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, COUNTED):
            hooks.append(layer.register_forward_hook(_counter(name, example.shape[0], macs)))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return macs


def _counter(
    name: str, num_images: int, macs: dict[str, int]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, COUNTED)
        # Each weight is used once for each position that its layer visits: of the output, or, for
        # a transposed convolution, of the input.
        transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
        visited = inputs[0] if transposed else output
        if isinstance(layer, nn.Linear):
            channels = layer.out_features
        else:
            channels = layer.in_channels if transposed else layer.out_channels
        positions = visited.numel() // (num_images * channels)
        macs[name] = macs.get(name, 0) + positions * layer.weight.numel()

    return hook


def count(model: nn.Module, example: Tensor) -> Counts:
    """Size of ``model``, its MACs for one image of ``example`` (shape ``(images, ...)``)."""
    tensors = [*model.parameters(), *model.buffers()]
    return Counts(
        macs=sum(layer_macs(model, example).values()),
        params=sum(parameter.numel() for parameter in model.parameters()),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )

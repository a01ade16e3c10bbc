"""Convolutions and linear layers of a network as an engine sees them: shapes, and no values."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerShape:
    """All that the time of one layer goes by. A linear layer is a kernel of no axes.

    Attributes:
        out: Size of the weight's axis 0: channels that are made.
        into: Size of the weight's axis 1: channels that each of them reads.
        image: Height and width of the input; of a linear layer how many vectors one image has.
        kernel: Height and width of the kernel; empty for a linear layer.
        stride: Steps along both axes, as padding and dilation.
        padding: Zeros on each side.
        dilation: Distance of the kernel's entries.
        group_out: Channels that each group makes, if groups leave as a whole, as in a depthwise
            layer; None where the number of groups stays.
        groups: Number of groups at this width.
    """

    out: int
    into: int
    image: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    group_out: int | None = None
    groups: int = 1

    def at(self, out: int, into: int) -> "LayerShape":
        """The same layer with other widths; the number of groups follows where it can."""
        groups = self.groups if self.group_out is None else max(1, out // self.group_out)
        return replace(self, out=out, into=into, groups=groups)

    @property
    def in_channels(self) -> int:
        """Channels of the input, all groups together."""
        return self.into * self.groups

    @property
    def positions(self) -> int:
        """Positions of the output for one image."""
        if not self.kernel:
            return math.prod(self.image)
        return math.prod(
            (size + 2 * pad - far * (wide - 1) - 1) // step + 1
            for size, pad, far, wide, step in zip(
                self.image, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )

    @property
    def name(self) -> str:
        """All of it in words, the same for equal shapes only."""
        widths = f"{self.into}->{self.out}"
        if not self.kernel:
            return f"linear {widths} on {_by(self.image)}"
        return (
            f"conv {widths} groups {self.groups} kernel {_by(self.kernel)} "
            f"stride {_by(self.stride)} padding {_by(self.padding)} "
            f"dilation {_by(self.dilation)} on {_by(self.image)}"
        )


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


@torch.no_grad()
def layer_shapes(model: nn.Module, example: Tensor) -> dict[str, tuple[LayerShape, ...]]:
    """For each weight of a 2-d convolution or linear layer the shapes it is called with, in order.

    Other layers are absent, as are layers whose weight is computed or that another module uses
    without calling them. The model is left as it was, since a copy runs.

    Args:
        model: Any module.
        example: Input batch; the first image is used.
    """
    twin = copy.deepcopy(model).eval()
    found: dict[str, list[LayerShape]] = defaultdict(list)
    parameters = {id(p): name for name, p in twin.named_parameters()}
    for layer in twin.modules():
        shape_of = _SHAPES.get(type(layer))
        if shape_of is not None and (name := parameters.get(id(layer.weight))) is not None:
            layer.register_forward_pre_hook(_noting(found[name], shape_of))
    with torch.random.fork_rng(devices=[]):
        twin(example[:1].detach())
    return {name: tuple(shapes) for name, shapes in found.items() if shapes}


def _noting(
    shapes: list[LayerShape], shape_of: Callable[[Any, Tensor], LayerShape | None]
) -> Callable[[nn.Module, Any], None]:
    def note(layer: nn.Module, inputs: Any) -> None:
        if inputs and (shape := shape_of(layer, inputs[0])) is not None:
            shapes.append(shape)

    return note


def _of_convolution(layer: nn.Conv2d, images: Tensor) -> LayerShape | None:
    if isinstance(layer.padding, str) or images.dim() != 4:
        return None
    out, into = layer.weight.shape[:2]
    return LayerShape(
        out=out,
        into=into,
        image=tuple(images.shape[2:]),
        kernel=layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        # With one channel to read, nothing but whole groups can leave.
        group_out=out // layer.groups if layer.groups > 1 and into == 1 else None,
        groups=layer.groups,
    )


def _of_linear(layer: nn.Linear, vectors: Tensor) -> LayerShape:
    return LayerShape(
        out=layer.out_features, into=layer.in_features, image=tuple(vectors.shape[1:-1]) or (1,)
    )


_SHAPES: dict[type[nn.Module], Callable[[Any, Tensor], LayerShape | None]] = {
    nn.Conv2d: _of_convolution,
    nn.Linear: _of_linear,
}
"""Layers that are measured. A subclass may compute something else, so it is not."""

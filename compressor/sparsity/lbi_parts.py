"""Where the groups of a twin lie in their parameters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Member

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


@dataclass(frozen=True)
class Part:
    """The slices of one parameter that belong to the groups of one twin.

    Attributes:
        tensor: Name of the parameter.
        shape: A view of the parameter in which whole axes number the groups; where slices have to
            be gathered, ``(groups, entries)``.
        axes: The axes of ``shape`` that number the groups, in this order.
        member: How slices are gathered, or None where the parameter's own layout serves.
    """

    tensor: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    member: Member | None = None

    @property
    def num_groups(self) -> int:
        """Groups of the twin."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def group_size(self) -> int:
        """Entries of each group in this parameter."""
        return math.prod(self.shape) // self.num_groups

    def of(self, parameter: Tensor) -> Tensor:
        """The slices of now: a view where possible, else a copy; of ``shape``."""
        if self.member is not None:
            return self.member.rows(parameter.detach())
        detached = parameter.detach()
        return detached if detached.shape == self.shape else detached.view(self.shape)

    def norms(self, values: Tensor) -> Tensor:
        """2-norm of each group of ``values`` (of ``shape``), shape ``(groups,)``.

        Half precision is added up in single precision, where small norms do not vanish.
        """
        others = [axis for axis in range(values.dim()) if axis not in self.axes]
        dtype = torch.promote_types(values.dtype, torch.float32)
        if not others:
            return values.to(dtype).abs().flatten()
        norms: Tensor = torch.linalg.vector_norm(values, dim=others, dtype=dtype)
        return norms.flatten()

    def spread(self, values: Tensor) -> Tensor:
        """``values``, one for each group, as a view that broadcasts over ``shape``."""
        return values.view(
            [size if axis in self.axes else 1 for axis, size in enumerate(self.shape)]
        )

    def mask(self, kept: Tensor, shape: Sequence[int]) -> Tensor:
        """``kept``, one bool for each group, for every entry of a parameter of this shape."""
        return self.spread(kept).expand(self.shape).reshape(*shape)


def unit_part(member: Member, tensor: Tensor) -> Part:
    """The slices of a coupling's units along one member.

    Where the units are the whole axis in order, blocks of neighbours at most, the parameter is used
    as it lies, whatever its memory format; else slices are gathered in each step.
    """
    (size, axis), (units, block) = (tensor.shape[member.axis], member.axis), member.index.shape
    if member.index.flatten().tolist() == list(range(size)):
        blocks = (units,) if block == 1 else (units, block)
        return Part(
            member.tensor, (*tensor.shape[:axis], *blocks, *tensor.shape[axis + 1 :]), (axis,)
        )
    # The positions lie where the weights do; else every step would copy them there.
    here = Member(member.tensor, axis, member.index.to(tensor.device), member.kind)
    return Part(member.tensor, (units, tensor.numel() // size * block), (0,), here)


def filter_part(layer: nn.Module, name: str, weight: Tensor) -> Part:
    """The output filters of a convolution; of a transposed one group by group."""
    if not isinstance(layer, TRANSPOSED):
        return Part(name, tuple(weight.shape), (0,))
    num_inputs, *rest = weight.shape
    if layer.groups == 1:
        return Part(name, tuple(weight.shape), (1,))
    return Part(name, (layer.groups, num_inputs // layer.groups, *rest), (0, 2))


def weight_part(name: str, weight: Tensor) -> Part:
    """Every entry of a parameter as a group."""
    return Part(name, tuple(weight.shape), tuple(range(weight.dim())))

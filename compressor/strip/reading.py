"""A network run in another precision and with units masked, without a second copy of its weights.

Every operator of the forward pass is given its parameters converted and masked at that moment, one
at a time. The values are those of a network that was converted and masked as a whole; a network
takes the memory of its own weights once, however many bytes a number of the run has.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from compressor.couplings.branch import dead_branches, without_dead
from compressor.couplings.capture import Example, as_arguments
from compressor.couplings.coupling import (
    Couplings,
    Member,
    check_fit,
    named_tensors,
    zero_branches_,
)
from compressor.couplings.sharing import sharing_copy
from compressor.structure import Structure

Removed = tuple[Member, Tensor]
"""A member of a coupling, and which of its units are removed (bool, shape ``(units,)``)."""


class Reading:
    """A network as it is read: in one precision, perhaps with units masked.

    The network that was given is not touched, whatever its forward writes.

    Attributes:
        network: It, with parameters as they are and buffers as they are read.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        removed: Mapping[str, Sequence[Removed]] | None = None,
    ) -> None:
        """Prepare to read ``model`` in ``dtype``, with the given slices of its tensors at zero.

        Args:
            model: The network.
            dtype: What all its parameters and buffers of floating-point numbers are read as.
            removed: What is zero in each tensor, by its name.
        """
        zeros = removed or {}
        self.network = sharing_copy(model).eval()
        shown = _shown_buffers(self.network, dtype, zeros)
        for module in self.network.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = shown[id(buffer)]
        self._mode = _ParametersShown(self.network, dtype, zeros)

    @torch.no_grad()
    def outputs(self, example: Example) -> list[Tensor]:
        """All tensors that the network returns, whatever they stand in."""
        with self._mode:
            found = self.network(*as_arguments(example))
        return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


def masked(
    model: nn.Module, couplings: Couplings, structure: Structure, dtype: torch.dtype
) -> Reading:
    """The network with every member of every unit that is left out at zero, as ``mask_`` has it.

    Raises:
        StructureError: The structure does not fit the couplings.
    """
    check_fit(couplings, structure)
    if dead := dead_branches(couplings.branches, structure):
        structure = without_dead(couplings.branches, structure)
        model = sharing_copy(model)
        zero_branches_(model, dead)
    removed: dict[str, list[Removed]] = defaultdict(list)
    for coupling in couplings.free:
        units = ~structure.keep[coupling.name]
        for member in coupling.members:
            if member.kind != "statistic" and units.any():
                removed[member.tensor].append((member, units))
    return Reading(model, dtype, removed)


def _shown_buffers(
    model: nn.Module, dtype: torch.dtype, removed: Mapping[str, Sequence[Removed]]
) -> dict[int, Tensor]:
    """Each buffer as it is read, by the identity of what it is read from."""
    zeros = _by_tensor(model, removed)
    return {
        id(buffer): _shown(buffer, dtype, zeros.get(id(buffer), ())) for buffer in model.buffers()
    }


def _by_tensor(
    model: nn.Module, removed: Mapping[str, Sequence[Removed]]
) -> dict[int, list[Removed]]:
    # By identity: layers that share a tensor name it differently.
    found: dict[int, list[Removed]] = defaultdict(list)
    for name, tensor in named_tensors(model).items():
        found[id(tensor)] += removed.get(name, ())
    return found


def _shown(tensor: Tensor, dtype: torch.dtype, zeros: Sequence[Removed]) -> Tensor:
    # Always a copy: a forward that writes into its parameters would write into the network's.
    shown = tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
    for member, units in zeros:
        member.zero_(shown, units)
    return shown


_PROPERTIES = ("shape", "ndim", "device", "requires_grad", "is_cuda", "is_nested", "layout")

_ASK_NO_VALUES = frozenset(
    {
        *(getattr(Tensor, name).__get__ for name in _PROPERTIES),
        Tensor.is_floating_point,
        Tensor.__len__,
        Tensor.dim,
        Tensor.numel,
        Tensor.size,
        Tensor.stride,
        Tensor.is_contiguous,
    }
)
"""Questions that a parameter answers as well itself, without being converted first."""


class _ParametersShown(TorchFunctionMode):
    """Gives every operator the parameters of one network as they are to be read."""

    def __init__(
        self, model: nn.Module, dtype: torch.dtype, removed: Mapping[str, Sequence[Removed]]
    ) -> None:
        super().__init__()
        self._dtype, self._zeros = dtype, _by_tensor(model, removed)
        self._held = {id(parameter) for parameter in model.parameters()}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _ASK_NO_VALUES:
            return func(*args, **(kwargs or {}))
        shown_args, shown_kwargs = tree_map(self._show, (args, dict(kwargs or {})))
        return func(*shown_args, **shown_kwargs)

    def _show(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and id(leaf) in self._held:
            return _shown(leaf, self._dtype, self._zeros.get(id(leaf), ()))
        return leaf

"""Parameters, multiply-accumulates and bytes of a model.

A MAC is one multiplication with its addition; what others call FLOPs is about twice that. Counted
for one image are convolutions and matrix products, whoever calls them: layers, attention, plain
``@``. Norms, activations, additions, products entry by entry and ``nn.Bilinear`` are not.

How this agrees with other counters:

* ``torch.utils.flop_counter`` counts exactly twice as much, in evaluation mode and where it sees
  the whole network. It misses what fused kernels do: the inner products of attention on a CPU, the
  projections of ``nn.MultiheadAttention`` where no gradient is asked for, ``nn.LSTM`` on a CPU.
  Here those kernels are taken apart, so both agree again when it looks at a meta device.
* ``compressor.export.graph_count`` counts the same in an exported file, as long as the exporter
  left all products in it: it folds those of constants alone, such as a weight norm.
"""

import contextlib
import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

WEIGHTED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
"""Layers whose MACs, and whose single weights, are those of their ``weight``."""


@dataclass(frozen=True)
class Counts:
    """Size of a model: MACs for one image, parameters, bytes of parameters and buffers.

    ``other_macs`` are those of ``macs`` that multiply no parameter: products of two activations,
    as inside attention, or with a weight that is computed outside a layer.
    """

    macs: int
    params: int
    bytes: int
    other_macs: int = 0


def count(model: nn.Module, example: Tensor) -> Counts:
    """Size of ``model``, its MACs for one image of ``example`` (shape ``(images, ...)``)."""
    counter = _counted(model, example)
    tensors = [*model.parameters(), *model.buffers()]
    return Counts(
        macs=sum(counter.macs.values()),
        params=sum(parameter.numel() for parameter in model.parameters()),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        other_macs=counter.other_macs,
    )


def layer_macs(model: nn.Module, example: Tensor) -> dict[str, int]:
    """MACs for one image by where their weight is; together they are ``count(...).macs``.

    A convolution or linear layer stands under its module name, also where another module uses its
    weight without calling it. Any other parameter that is multiplied stands under its own name
    (the ``in_proj_weight`` of attention), and a product that multiplies no parameter under the
    module that makes it (attention itself, or ``""`` for the network's own forward).

    A layer that is called twice counts twice; one that is not used is absent. The model is left
    as it was, since a copy runs; without its values, unless its forward asks for them.

    Args:
        model: Any module.
        example: Input batch, shape ``(images, ...)``; the first image is used.
    """
    return dict(_counted(model, example).macs)


def _counted(model: nn.Module, example: Tensor) -> "_Counter":
    image = example[:1].detach()
    try:
        # On a meta device there are shapes and no values: nothing is computed, or can be changed.
        with torch.device("meta"):
            return _run(_meta_copy(model), image.to("meta"))
    except Exception:  # noqa: BLE001  whatever forward raises when its tensors have no values
        # The same products in the same order; a network that fails here too tells why itself.
        return _run(copy.deepcopy(model), image)


def _meta_copy(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes only."""
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        shape_only = torch.empty_like(tensor, device="meta", requires_grad=False)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(shape_only, False) if is_parameter else shape_only
    return copy.deepcopy(model, memo)


def _run(twin: nn.Module, image: Tensor) -> "_Counter":
    counter = _Counter(twin.eval())
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _kernels_taken_apart(), counter:
        twin(image)
    return counter


@contextlib.contextmanager
def _kernels_taken_apart() -> Iterator[None]:
    """In the block attention and recurrent layers are made of plain matrix products."""
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = onednn


def _product(first: int) -> Callable[[Any, Tensor], tuple[int, tuple[Tensor, ...]]]:
    """MACs and factors of a matrix product whose factors are arguments ``first`` and the next."""

    def macs(arguments: Any, output: Tensor) -> tuple[int, tuple[Tensor, ...]]:
        left, right = arguments[first : first + 2]
        return output.numel() * left.shape[-1], (right, left)

    return macs


def _convolution(arguments: Any, output: Tensor) -> tuple[int, tuple[Tensor, ...]]:
    image, weight, transposed = arguments[0], arguments[1], arguments[6]
    # Each weight is used once for each position that its filter visits: of the output, or, for a
    # transposed convolution, of the input.
    visited = image if transposed else output
    return math.prod(visited.shape[2:]) * visited.shape[0] * weight.numel(), (weight,)


_ATEN = torch.ops.aten
_PRODUCTS: dict[Any, Callable[[Any, Tensor], tuple[int, tuple[Tensor, ...]]]] = {
    _ATEN.mm: _product(0),
    _ATEN.bmm: _product(0),
    _ATEN.addmm: _product(1),
    _ATEN.baddbmm: _product(1),
    _ATEN.convolution: _convolution,
    _ATEN._convolution: _convolution,
}
"""What is counted: an operation's arguments and output -> its MACs, and what may be a weight."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the products that ``model`` makes while this mode is on.

    Attributes:
        macs: MACs by layer, parameter or module, as ``layer_macs`` says.
        other_macs: Those of products without a layer and without a parameter.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = defaultdict(int)
        self.other_macs = 0
        self._running: list[tuple[str, bool]] = []
        self._names: dict[int, str] = {}
        for name, module in model.named_modules():
            counted = isinstance(module, WEIGHTED)
            module.register_forward_pre_hook(self._enter(name, counted))
            module.register_forward_hook(self._leave)
            for attribute, parameter in module.named_parameters(recurse=False):
                full_name = f"{name}.{attribute}" if name else attribute
                owner = name if counted and attribute == "weight" else full_name
                self._names.setdefault(_place(parameter), owner)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        product = _PRODUCTS.get(func.overloadpacket)
        if product is None:
            # Under inference mode operations arrive before they are made of smaller ones.
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {})) if parts is NotImplemented else parts
        output = func(*args, **(kwargs or {}))
        macs, factors = product(args, output)
        self._add(macs, factors)
        return output

    def _add(self, macs: int, factors: tuple[Tensor, ...]) -> None:
        layer = next((name for name, counted in reversed(self._running) if counted), None)
        parameters = (self._names.get(_place(factor)) for factor in factors)
        name = layer if layer is not None else next((n for n in parameters if n is not None), None)
        if name is None:
            name = self._running[-1][0]
            self.other_macs += macs
        self.macs[name] += macs

    def _enter(self, name: str, counted: bool) -> Callable[[nn.Module, Any], None]:
        def enter(_module: nn.Module, _inputs: Any) -> None:
            self._running.append((name, counted))

        return enter

    def _leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._running.pop()


def _place(tensor: Tensor) -> int:
    """Where a tensor's values are, the same for all its views."""
    return int(tensor.untyped_storage()._cdata)

"""A network -> its graph of ATen operators, with the sizes of one batch.

The capture is torch's own (``torch.export``), on a copy in eval mode; nothing of it runs on data.
The batch stays a variable wherever the network lets it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from compressor.chatter import no_chatter
from compressor.couplings.batch import batch_of, free_batch_, is_fixed, one_more
from compressor.couplings.forward import Place, make_traceable_
from compressor.couplings.sharing import sharing_copy
from compressor.errors import CouplingError

Example = Tensor | tuple[Any, ...]
"""Input batch of a network, or the tuple of its positional arguments."""


def as_arguments(example: Example) -> tuple[Any, ...]:
    """The positional arguments that ``example`` stands for."""
    return example if isinstance(example, tuple) else (example,)


def described(example: Any) -> Any:
    """``example`` without its values, as JSON: what a capture must know of it to be repeated."""
    if isinstance(example, Tensor):
        return {"shape": list(example.shape), "dtype": str(example.dtype).removeprefix("torch.")}
    if isinstance(example, tuple | list):
        return {type(example).__name__: [described(item) for item in example]}
    if isinstance(example, dict):
        return {"dict": [[key, described(item)] for key, item in example.items()]}
    if example is None or isinstance(example, bool | int | float | str):
        return {"value": example}
    raise CouplingError(
        f"An input of the network is a {type(example).__name__}. "
        "Give it tensors, numbers and text, in tuples, lists and dicts."
    )


def capture(model: nn.Module, example: Example, place: Place | None = None) -> ExportedProgram:
    """The graph of ``model`` in eval mode; the model itself is not touched.

    The parameters of the graph share their storage with those of ``model``.

    Args:
        model: Any module.
        example: Input batch, at least 2 images; shape ``(images, ...)``.
        place: Told which module is running, for messages.

    Raises:
        CouplingError: The network does not run on ``example``, or depends on values of tensors.
    """
    where = place or Place()
    arguments = as_arguments(example)
    program = _exported(model, arguments, where)
    if is_fixed(program):
        try:
            larger = _exported(model, one_more(arguments), where)
        except CouplingError:
            return program  # the network has one batch size by its nature
        free_batch_(program, larger, batch_of(arguments))
    return program


def _exported(model: nn.Module, arguments: tuple[Any, ...], where: Place) -> ExportedProgram:
    # The exporter reads no parameter and writes none, so the largest networks need no second copy.
    twin = sharing_copy(model)
    make_traceable_(twin, where)
    shapes = torch.utils._pytree.tree_map(_batch_is_variable, arguments)
    with no_chatter(), _no_fused_attention(), _no_autocast_off(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, on what it will deprecate
        try:
            return torch.export.export(twin, arguments, strict=False, dynamic_shapes=shapes)
        except CouplingError:
            raise
        except Exception as failure:
            raise _as_coupling_error(failure, where) from failure


def _batch_is_variable(leaf: Any) -> Any:
    return {0: Dim.AUTO} if isinstance(leaf, Tensor) and leaf.dim() > 0 else None


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Torch's fused encoder layer is one operator that hides all of its layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _no_autocast_off() -> Iterator[None]:
    """Blocks with autocast switched off do nothing here, where it is off, and hide their operators.

    The exporter makes each a graph of its own inside the graph.
    """
    enter: Any = torch.autocast.__enter__
    leave: Any = torch.autocast.__exit__

    def enter_if_on(self: torch.autocast) -> Any:
        return enter(self) if self._enabled else self

    def leave_if_on(self: torch.autocast, *raised: Any) -> Any:
        return leave(self, *raised) if self._enabled else None

    setattr(torch.autocast, "__enter__", enter_if_on)  # noqa: B010  a type checker refuses it
    setattr(torch.autocast, "__exit__", leave_if_on)  # noqa: B010
    try:
        yield
    finally:
        setattr(torch.autocast, "__enter__", enter)  # noqa: B010
        setattr(torch.autocast, "__exit__", leave)  # noqa: B010


_DECISIONS = ("data-dependent", "DataDependent", "GuardOnData", "UserError")
"""What the exporter's errors are called when a forward pass decides on values."""


def _as_coupling_error(failure: Exception, place: Place) -> CouplingError:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    first_line = lines[0] if lines else "no message"
    kind = type(failure).__name__
    if any(word in f"{kind} {first_line}" for word in _DECISIONS):
        return CouplingError(
            f"The forward pass reads the value of a tensor at or after {place.name} "
            f"({first_line}), so it may do something else for other images. "
            "Use tensor code such as torch.where."
        )
    return CouplingError(
        f"The network cannot be captured: {kind} at {place.name}: {first_line}. "
        "Check that it runs on its example input and that its forward is plain tensor code."
    )

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

from compressor.couplings.forward import Place, traceable_copy
from compressor.errors import CouplingError

Example = Tensor | tuple[Any, ...]
"""Input batch of a network, or the tuple of its positional arguments."""


def as_arguments(example: Example) -> tuple[Any, ...]:
    """The positional arguments that ``example`` stands for."""
    return example if isinstance(example, tuple) else (example,)


def capture(model: nn.Module, example: Example, place: Place | None = None) -> ExportedProgram:
    """The graph of ``model`` in eval mode; the model itself is not touched.

    Args:
        model: Any module.
        example: Input batch, at least 2 images; shape ``(images, ...)``.
        place: Told which module is running, for messages.

    Raises:
        CouplingError: The network does not run on ``example``, or depends on values of tensors.
    """
    where = place or Place()
    twin = traceable_copy(model, where)
    arguments = as_arguments(example)
    shapes = torch.utils._pytree.tree_map(_batch_is_variable, arguments)
    with _quiet(), _no_fused_attention():
        try:
            return torch.export.export(twin, arguments, strict=False, dynamic_shapes=shapes)
        except CouplingError:
            raise
        except Exception as failure:
            raise _as_coupling_error(failure, where) from failure


def _batch_is_variable(leaf: Any) -> Any:
    return {0: Dim.AUTO} if isinstance(leaf, Tensor) and leaf.dim() > 0 else None


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, on what it will deprecate
        yield


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Torch's fused encoder layer is one operator that hides all of its layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_DECISIONS = ("data-dependent", "DataDependent", "GuardOnData", "UserError")
"""What the exporter's errors are called when a forward pass decides on values."""


def _as_coupling_error(failure: Exception, place: Place) -> CouplingError:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    first_line = lines[0] if lines else "no message"
    kind = type(failure).__name__
    if any(word in f"{kind} {first_line}" for word in _DECISIONS):
        return CouplingError(
            f"The forward pass decides on values of tensors at {place.name} ({first_line}), so it "
            "may do something else for other images. Use tensor code such as torch.where."
        )
    return CouplingError(
        f"The network cannot be captured: {kind} at {place.name}: {first_line}. "
        "Check that it runs on its example input and that its forward is plain tensor code."
    )

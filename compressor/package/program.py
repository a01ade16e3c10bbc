"""The network as a `torch.export` program, which plain torch runs without its Python source."""

import copy
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from compressor.chatter import no_chatter
from compressor.errors import CheckError, ExportError
from compressor.export.onnx import EXAMPLE_BATCH, first_cause
from compressor.export.structure_checks import BATCH_NAME
from compressor.package.archive import unplain_in
from compressor.package.graph import foreign_in

STACK_TRACE = "stack_trace"

UNREADABLE = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    zipfile.BadZipFile,
)
"""What torch raises on a program of a release that it does not know."""


def save_program(module: nn.Module, image_shape: tuple[int, int, int], path: Path) -> None:
    """Write ``module``, as it is in evaluation mode, for any batch size and without a pickle.

    The archive repeats the name of its file inside, so the same bytes need the same name.

    Raises:
        ExportError: The network cannot be exported, or holds what only a pickle can hold.
    """
    try:
        with no_chatter():
            torch.export.save(_program(module, image_shape), path)
    except (RuntimeError, ValueError, TypeError) as failure:
        path.unlink(missing_ok=True)
        raise ExportError(
            f"{type(module).__name__} cannot be exported by torch.export: {first_cause(failure)} "
            "Change what forward does there, or what the network holds."
        ) from failure
    if found := unplain_in(path):
        path.unlink()
        raise ExportError(
            f"{type(module).__name__} holds something that torch.export can only pickle "
            f"({found[0]}). Keep nothing but plain tensors in its parameters and buffers."
        )
    if foreign := next(foreign_in(path), None):
        path.unlink()
        raise ExportError(
            f"{type(module).__name__} needs {foreign[1]!r} ({foreign[0] or 'a name'}), which "
            "packages may not hold: torch could run it as code. Use operators of torch alone."
        )


def _program(module: nn.Module, image_shape: tuple[int, int, int]) -> ExportedProgram:
    network = copy.deepcopy(module).cpu().eval()
    example = torch.zeros(EXAMPLE_BATCH, *image_shape)
    program = torch.export.export(
        network, (example,), dynamic_shapes=({0: Dim(BATCH_NAME, min=1)},)
    )
    # Example inputs would be pickled, and the traces hold folder names of this machine.
    program.example_inputs = None
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop(STACK_TRACE, None)
    return program


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """What ``save_program`` wrote, as a function of images.

    Raises:
        CheckError: This torch cannot read it.
    """
    try:
        with no_chatter():
            program: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    except UNREADABLE as failure:
        raise CheckError(
            f"{path} cannot be loaded by torch {torch.__version__}: {first_cause(failure)} "
            "Use the torch that environment.json names, or the ONNX file."
        ) from failure
    return program

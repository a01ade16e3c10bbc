"""A network as one ONNX file, for any batch size, checked before it stands under its name."""

import copy
import math
import tempfile
import warnings
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.export import Dim
from torch.jit._trace import TracerWarning
from torch.onnx import OnnxExporterError

from compressor.bench.runner import import_engine
from compressor.chatter import no_chatter
from compressor.count import count
from compressor.errors import CheckError, ExportError, ModelError
from compressor.export.structure_checks import (
    BATCH_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    Expected,
    check_structure,
)
from compressor.export.verify import parity, random_inputs
from compressor.files import whole_file
from compressor.settings import Settings

MAX_STATE_BYTES = 1_900_000_000  # a protobuf message ends at 2 GiB, graph and metadata included
EXAMPLE_BATCH = 2  # the exporter takes a size of 0 or 1 for a constant
PLAINLY_WRONG = 0.01
"""Of the relative 2-norm: float32 files were within 1.2e-6 on four networks."""
STACK_TRACE = "pkg.torch.onnx.stack_trace"


class ExportSettings(Settings):
    """How networks are exported."""

    opset: int = Field(default=20, ge=18, le=25)
    """Version of the ONNX operators. The exporter cannot go below 18; older engines may not read
    above 20."""


@dataclass(frozen=True)
class Exported:
    """How a file came to be.

    Attributes:
        exporter: Which of PyTorch's exporters wrote it.
        why: What hindered the first one, where it was not that.
    """

    exporter: Literal["dynamo", "torchscript"]
    why: str | None = None


def export_onnx(
    model: nn.Module, image_shape: tuple[int, int, int], path: Path, settings: ExportSettings
) -> Exported:
    """Write ``model``, as it is in evaluation mode, to ``path``; nothing is written on failure.

    The file holds all weights, takes ``images`` of shape ``(batch, *image_shape)`` with any batch
    size and gives ``logits``. The same network gives the same bytes. Where PyTorch's exporter gives
    up, or its file is not what was asked for, its older one is tried, which is deprecated.

    Args:
        model: A float32 network that takes one tensor and gives one tensor; left as it is.
        image_shape: Channels, height, width.
        path: Where the file goes.
        settings: The operators' version.

    Returns:
        Which exporter wrote the file, and why not the first.

    Raises:
        ExportError: Neither can export the network so that the file is what was asked for and
            computes what the network computes; what hindered the first is said.
        MissingExtra: ONNX, its exporter or ONNX Runtime is not installed.
    """
    import_engine("onnxscript", "onnxscript")
    expected = Expected(image_shape, settings.opset, check_state(model))
    try:
        _write(exported(model, image_shape, settings.opset), model, path, expected)
    except ExportError as first:
        traced = exported_by_tracing(model, image_shape, settings.opset)
        if traced is None:
            raise
        try:
            _write(traced, model, path, expected)
        except ExportError:
            # What hindered the first exporter can be mended; the other goes away.
            raise first from None
        return Exported("torchscript", why=str(first))
    return Exported("dynamo")


def _write(proto: Any, model: nn.Module, path: Path, expected: Expected) -> None:
    """Write a file that is what was asked for and computes what ``model`` computes, or nothing.

    Raises:
        ExportError: It is not, or does not.
    """
    proto = without_stack_traces(proto)
    # After the export: what cannot even be traced is refused there, in one line.
    macs = count(model, torch.zeros(1, *expected.image_shape)).macs
    with whole_file(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        del proto  # the checks read the file, and two copies of the weights are enough
        onnx = import_engine("onnx", "onnx")
        check_structure(onnx, temporary, replace(expected, macs=macs), name=str(path))
        check_outputs(model, temporary, expected.image_shape, name=str(path))


def check_outputs(
    model: nn.Module, path: Path, image_shape: tuple[int, int, int], name: str
) -> None:
    """Refuse a file that plainly computes something else than ``model``.

    How near it comes is measured once the network is trained: one that is not may blow up rounding,
    or give no finite numbers, which the file then need not give either.

    Args:
        model: The network that was exported; left as it is.
        path: The file.
        image_shape: Channels, height, width.
        name: What to call the file in an error.

    Raises:
        ExportError: It cannot be run for batches of several sizes, or its outputs are far off.
    """
    try:
        measured = parity(model, path, random_inputs(image_shape))
    except (CheckError, ModelError) as failure:
        raise ExportError(str(failure).replace(str(path), name)) from failure
    # Written so that NaN is refused, unless the network itself gives it.
    if math.isfinite(measured.spread) and not measured.relative_l2 <= PLAINLY_WRONG:
        raise ExportError(
            f"{name}: relative_l2 to the network is {measured.relative_l2:.2g} for random images, "
            f"above {PLAINLY_WRONG:g}: the exporter wrote another network. Change what forward "
            "does there, or try another export.opset."
        )


def check_state(model: nn.Module) -> int:
    """Bytes of all parameters and buffers.

    Raises:
        ExportError: They are too large for one file, or a parameter is not float32.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise ExportError(
                f"{name} is {parameter.dtype}, and only float32 networks are exported. "
                "Convert the network with model.float() first."
            )
    state_bytes = sum(
        t.numel() * t.element_size() for t in chain(model.parameters(), model.buffers())
    )
    if state_bytes > MAX_STATE_BYTES:
        raise ExportError(
            f"{type(model).__name__} has {state_bytes / 1e9:.2f} GB of weights, and one ONNX file "
            f"holds at most {MAX_STATE_BYTES / 1e9:.1f} GB. Strip more of it."
        )
    return state_bytes


def exported(model: nn.Module, image_shape: tuple[int, int, int], opset: int) -> Any:
    """The network as an ONNX ``ModelProto``.

    Raises:
        ExportError: The exporter gave up.
    """
    network = copy.deepcopy(model).cpu().eval()
    example = torch.zeros(EXAMPLE_BATCH, *image_shape)
    try:
        with no_chatter():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=({0: Dim(BATCH_NAME, min=1)},),
                external_data=False,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                verbose=False,
            )
    except OnnxExporterError as error:
        raise ExportError(
            f"{type(model).__name__} cannot be exported for images of {list(image_shape)}: "
            f"{first_cause(error)} Check the image shape, or change what forward does there."
        ) from error
    assert program is not None, "the dynamo exporter always returns a program"
    return program.model_proto


def exported_by_tracing(
    model: nn.Module, image_shape: tuple[int, int, int], opset: int
) -> Any | None:
    """The network as an ONNX ``ModelProto`` by the older exporter; ``None`` if it gives up.

    It records one run. Where forward decides by what it is given, the record would hold one of the
    ways it can go: the exporter only warns of that, and here it is a reason to give up.
    """
    network = copy.deepcopy(model).cpu().eval()
    example = torch.zeros(EXAMPLE_BATCH, *image_shape)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            no_chatter(),
            warnings.catch_warnings(record=True) as said,
        ):
            warnings.simplefilter("always")
            torch.onnx.export(
                network,
                (example,),
                Path(folder) / "traced.onnx",
                dynamo=False,
                opset_version=opset,
                dynamic_axes={INPUT_NAME: {0: BATCH_NAME}, OUTPUT_NAME: {0: BATCH_NAME}},
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
            )
            proto = import_engine("onnx", "onnx").load(str(Path(folder) / "traced.onnx"))
    # Whatever forward raises, and what the exporter does not know.
    except (OnnxExporterError, RuntimeError, TypeError, ValueError):
        return None
    return None if any(issubclass(one.category, TracerWarning) for one in said) else proto


def first_cause(error: BaseException) -> str:
    """First line of the innermost cause, as a sentence: the outer ones are advice in general."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ") + "."


def without_stack_traces(proto: Any) -> Any:
    """Drop where each node came from in the source.

    The traces hold folder names of this machine, and would make the bytes differ between machines.
    """
    for node in proto.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    return proto

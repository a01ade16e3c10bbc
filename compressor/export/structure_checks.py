"""What an exported file must look like, checked on the file itself.

The exporter never fails on a graph that is merely bad: a batch size that became a constant, a norm
left behind its convolution, masks that are multiplied in at each run. Each costs a user a day.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from compressor.errors import ExportError
from compressor.export.graph_count import onnx_macs
from compressor.onnx_graph import makers_of, sizes

BATCH_NAME = "batch"
INPUT_NAME = "images"
OUTPUT_NAME = "logits"

CONVOLUTIONS = ("Conv", "ConvTranspose")
FOLDS_A_NORM = (*CONVOLUTIONS, "Gemm")

SIZE_FACTOR = 1.5  # weights written twice would be 2
BYTES_PER_NODE = 4096  # 1,100 to 1,500 with names and metadata, measured on four networks
BYTES_OF_HEADER = 65_536


@dataclass(frozen=True)
class Expected:
    """What was asked of the exporter.

    Attributes:
        image_shape: Channels, height, width.
        opset: Version of the ONNX operators.
        state_bytes: Size of the network's parameters and buffers.
        macs: MACs of the network for one image; None where they are not compared.
    """

    image_shape: tuple[int, int, int]
    opset: int
    state_bytes: int
    macs: int | None = None


def check_structure(onnx: ModuleType, path: Path, expected: Expected, name: str) -> None:
    """Refuse a file that is not the one asked for.

    Args:
        onnx: The ``onnx`` module.
        path: The file.
        expected: What it should hold.
        name: What to call the file in an error.

    Raises:
        ExportError: Names the first fault found.
    """
    proto = onnx.load(str(path), load_external_data=False)
    graph = proto.graph
    faults = (
        *(fault_of_opset(proto, expected.opset), fault_of_input(onnx, graph, expected.image_shape)),
        *(fault_of_output(graph), fault_of_weights(graph), fault_of_norms(graph)),
        *(fault_of_dropout(graph), fault_of_storage(onnx, graph)),
        *(fault_of_size(path, graph, expected.state_bytes), fault_of_validity(onnx, path)),
        fault_of_products(path, expected.macs),
    )
    for fault in faults:
        if fault is not None:
            raise ExportError(f"{name}: {fault}")


def fault_of_opset(proto: Any, opset: int) -> str | None:
    """The exporter keeps another version, with no more than a warning, where it cannot convert."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if versions == [opset]:
        return None
    return f"the file has opset {versions}, not {opset}. Set export.opset to one of those."


def fault_of_input(onnx: ModuleType, graph: Any, image_shape: tuple[int, int, int]) -> str | None:
    """One float32 input of shape ``(batch, *image_shape)``."""
    inputs = [(value.name, list(sizes(value))) for value in graph.input]
    wanted = (INPUT_NAME, [BATCH_NAME, *image_shape])
    if inputs != [wanted]:
        return f"the inputs are {inputs}, not {[wanted]}. Make forward accept any batch size."
    if graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return "the input is not float32. Export a float32 network."
    return None


def fault_of_output(graph: Any) -> str | None:
    """One output whose first dimension is the batch."""
    outputs = [(value.name, list(sizes(value))) for value in graph.output]
    if len(outputs) != 1:
        names = [name for name, _shape in outputs]
        return f"the network gives {len(outputs)} outputs, {names}. Make forward give one tensor."
    name, shape = outputs[0]
    if name != OUTPUT_NAME or shape[:1] != [BATCH_NAME]:
        return (
            f"the output {name!r} has shape {shape}, whose first dimension is not the batch. "
            "Keep the batch first in forward, and write no batch size into it."
        )
    return None


def fault_of_weights(graph: Any) -> str | None:
    """No convolution's weight is computed, at each run, from constants alone."""
    stored = stored_names(graph)
    constant = constant_names(graph)
    for node in graph.node:
        weight = node.input[1] if node.op_type in CONVOLUTIONS else ""
        if weight in constant and weight not in stored:
            return (
                f"the weight of {node.name} is computed at each run. Multiply masks into the "
                "weights and remove parametrizations before the export."
            )
    return None


def fault_of_norms(graph: Any) -> str | None:
    """No BatchNormalization stands behind a layer that could have taken it in.

    One that stands elsewhere may stay; so may one behind a layer whose weight or output is used
    twice, or whose weight is no constant, since it cannot be taken in there.
    """
    makers = makers_of(graph)
    uses = Counter(chain_inputs(graph))
    stored, constant = stored_names(graph), constant_names(graph)
    for norm in graph.node:
        maker = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if maker is None or maker.op_type not in FOLDS_A_NORM:
            continue
        weight = maker.input[1]
        foldable = weight in stored and uses[weight] == 1 and uses[norm.input[0]] == 1
        if foldable and constant.issuperset(norm.input[1:]):
            return (
                f"{norm.name} was not folded into {maker.name}. Use a current onnxscript, or fold "
                "the norm in PyTorch before the export."
            )
    return None


def fault_of_dropout(graph: Any) -> str | None:
    """No Dropout: evaluation mode has none."""
    for node in graph.node:
        if node.op_type == "Dropout":
            return (
                f"{node.name} drops at random in evaluation mode too. In forward, give "
                "F.dropout the argument training=self.training."
            )
    return None


def fault_of_storage(onnx: ModuleType, graph: Any) -> str | None:
    """All weights are inside the file."""
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return f"{tensor.name} was written to another file. Use a current version of PyTorch."
    return None


def fault_of_size(path: Path, graph: Any, state_bytes: int) -> str | None:
    """The file is not much larger than the weights."""
    limit = SIZE_FACTOR * state_bytes + BYTES_PER_NODE * len(graph.node) + BYTES_OF_HEADER
    num_bytes = path.stat().st_size
    if num_bytes <= limit:
        return None
    return (
        f"the file has {num_bytes:,d} bytes, the network's weights {state_bytes:,d}. Remove masks, "
        "and keep large tensors that forward computes out of it."
    )


def fault_of_validity(onnx: ModuleType, path: Path) -> str | None:
    """ONNX's own checker, shapes and types included, accepts the file."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(". ")
        return f"ONNX's checker refuses the file ({reason}). Try another export.opset."
    return None


def fault_of_products(path: Path, macs: int | None) -> str | None:
    """No more products than the network makes: those of channels that were taken out are gone.

    Fewer may be right, since the exporter computes those of constants once; where channels are
    missing the outputs differ, which parity shows.
    """
    if macs is None:
        return None
    try:
        found = onnx_macs(path)
    except ExportError:  # It multiplies in ways that are not counted in files: nothing to compare.
        return None
    if found <= macs:
        return None
    return (
        f"the file makes {found:,d} MACs for an image, the network {macs:,d}: it holds channels "
        "that the network has not. Export the network that was stripped."
    )


def stored_names(graph: Any) -> set[str]:
    """Values that stand in the file: initializers and Constant nodes."""
    return {tensor.name for tensor in graph.initializer} | {
        name for node in graph.node if node.op_type == "Constant" for name in node.output
    }


def constant_names(graph: Any) -> set[str]:
    """Values that do not depend on the images: those stored, and those computed from them alone."""
    constant = stored_names(graph)
    for node in graph.node:  # in topological order, as ONNX demands
        if node.input and constant.issuperset(filter(None, node.input)):
            constant.update(node.output)
    return constant


def chain_inputs(graph: Any) -> Iterator[str]:
    """Each use of a value, by a node or as an output of the graph."""
    for node in graph.node:
        yield from node.input
    for value in graph.output:
        yield value.name

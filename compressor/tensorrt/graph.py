"""What an ONNX file says of itself before it is built: inputs, layers with weights, precisions.

Precision is read here because it stands nowhere else: a strongly typed build computes each layer
in the types of the file.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressor.errors import ModelError
from compressor.onnx_graph import (
    PRODUCT_OPS,
    Size,
    attribute,
    load_onnx,
    makers_of,
    onnx_module,
    sizes,
    source_of,
    true_inputs,
    type_name,
)

# Operator -> axis of the weight along which it sums; Gemm's follows from its attribute transB.
CONTRACTED = {"Conv": 1, "Gemm": 0, "MatMul": -2, "ConvTranspose": 0}

KEEPS_SHAPE = frozenset({"DequantizeLinear", "Cast", "Identity"})
"""Operators behind which a weight has the axes that it is stored with."""

PRECISIONS = {
    "FLOAT": "fp32",
    "FLOAT16": "fp16",
    "BFLOAT16": "bf16",
    "INT8": "int8",
    "FLOAT8E4M3FN": "fp8",
    "INT4": "int4",
    "FLOAT4E2M1": "fp4",
}
"""ONNX's name of an element type -> ours."""


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product.

    Attributes:
        name: Name of its node.
        parsed_as: What the engine's parser calls the node; the same, if it has a name.
        operator: ONNX's name of the operation.
        precision: What it computes in; ONNX's number of the type if it is none of ours, and
            ``"unknown"`` where it cannot be inferred.
        weight: Its weight, quantised if it is so in the file; ``None`` if it is computed.
        contracted: Axis of the weight over which is summed: the input channels.
    """

    name: str
    parsed_as: str
    operator: str
    precision: str
    weight: "np.ndarray[Any, Any] | None"
    contracted: int


@dataclass(frozen=True)
class OnnxGraph:
    """What is read of a file.

    Attributes:
        path: The file.
        inputs: Name of each input -> its sizes.
        layers: Convolutions and matrix products, in the order of the file.
    """

    path: Path
    inputs: dict[str, tuple[Size, ...]]
    layers: tuple[Layer, ...]

    def precisions(self) -> dict[str, int]:
        """Number of layers at each precision."""
        return dict(Counter(layer.precision for layer in self.layers))

    def product_nodes(self) -> frozenset[str]:
        """The layers' nodes, as the engine's parser calls them."""
        return frozenset(layer.parsed_as for layer in self.layers)


def read_graph(path: Path) -> OnnxGraph:
    """Read an ONNX file, with the weights that lie beside it.

    Raises:
        ModelError: There is no such file, it is no ONNX, a part of it is missing, or it has no
            weights inside.
    """
    proto = load_onnx(path)
    graph = proto.graph
    inputs = {value.name: sizes(value) for value in true_inputs(graph)}
    layers = tuple(read_layers(proto))
    for node in layer_nodes(graph):
        # A product of two inputs is a network of its own kind; a kernel that is an input is lost.
        if node.op_type != "MatMul" and node.input[1] in inputs:
            raise ModelError(
                f"{path}: {node.input[1]}, the weight of {label(node)}, is an input of the file, "
                "which holds no value for it. Export the network with its weights inside."
            )
    return OnnxGraph(path, inputs, layers)


def layer_nodes(graph: Any) -> Iterator[Any]:
    """Nodes that are convolutions or matrix products."""
    return (node for node in graph.node if node.op_type in PRODUCT_OPS)


def read_layers(proto: Any) -> Iterator[Layer]:
    """Layers of a network, in the order of its nodes."""
    producers = makers_of(proto.graph)
    arrays = {tensor.name: tensor for tensor in proto.graph.initializer}
    types, to_array = element_types(proto), onnx_module().numpy_helper.to_array
    for node in layer_nodes(proto.graph):
        stored = arrays.get(source_of(node.input[1], producers, KEEPS_SHAPE))
        activation, weight = (quantised_type(name, producers, types) for name in node.input[:2])
        # Where only one of them is quantised, it is expanded before the product.
        is_float = activation is None or weight is None
        kind = types.get(node.input[0]) if is_float else weight
        yield Layer(
            name=label(node),
            parsed_as=node.name or f"node_of_{node.output[0]}",
            operator=node.op_type,
            precision=precision_of(kind),
            weight=None if stored is None else to_array(stored),
            contracted=contracted_axis(node),
        )


def precision_of(kind: int | None) -> str:
    """Our name of one of ONNX's element types; those of ONNX Runtime's own cannot be inferred."""
    if not kind:  # ONNX's number for what is undefined is 0
        return "unknown"
    return PRECISIONS.get(type_name(kind), f"type {kind}")


def element_types(proto: Any) -> dict[str, int]:
    """Element type of each tensor, as ONNX numbers them, where it can be inferred."""
    graph = onnx_module().shape_inference.infer_shapes(proto).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def quantised_type(name: str, producers: dict[str, Any], types: dict[str, int]) -> int | None:
    """Type from which the tensor ``name`` is dequantised; ``None`` if it is not."""
    node = producers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return types.get(node.input[0])


def contracted_axis(node: Any) -> int:
    """Axis of the weight over which the node sums."""
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return 1
    return CONTRACTED[node.op_type]


def label(node: Any) -> str:
    """What to call a node: its name, or that of what it makes."""
    return node.name or f"the {node.op_type} that makes {node.output[0]}"

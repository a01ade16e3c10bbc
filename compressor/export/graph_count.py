"""Multiply-accumulates of an exported network, read off its graph.

A second opinion on ``compressor.count``: it looks at the file, and knows nothing of PyTorch. Both
agree exactly as long as the exporter left every product in the graph. It folds products of
constants alone (a weight norm, the position bias of Swin V2), which the network itself does anew
for every batch; the graph then counts less.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compressor.errors import ExportError
from compressor.onnx_graph import attribute, known_shapes, load_onnx, onnx_module, true_inputs

Shapes = Mapping[str, tuple[int, ...]]


def onnx_macs(path: Path) -> int:
    """MACs of the network in ``path`` for one image: its convolutions and matrix products.

    Args:
        path: An ONNX file; the first axis of its inputs and outputs is the batch.

    Raises:
        ModelError: There is no such file, or it is not ONNX.
        ExportError: Shapes in it stay unknown, or it multiplies in a way that is not counted.
        MissingExtra: ONNX is not installed.
    """
    graph, batch = _for_one_image(path)
    shapes = known_shapes(graph)
    return sum(_macs(node, shapes, path) for node in graph.node) // batch


def node_macs(path: Path) -> dict[str, int]:
    """MACs of each node of the network in ``path`` for one image, by its first output.

    Together they are ``onnx_macs``.

    Raises:
        ModelError, ExportError: As ``onnx_macs``.
        MissingExtra: ONNX is not installed.
    """
    graph, batch = _for_one_image(path)
    shapes = known_shapes(graph)
    return {node.output[0]: _macs(node, shapes, path) // batch for node in graph.node}


def _for_one_image(path: Path) -> tuple[Any, int]:
    """The graph with all shapes, its batch set to one where it is free, and that batch."""
    onnx, inliner = onnx_module(), onnx_module("onnx.inliner")
    try:
        model = inliner.inline_local_functions(load_onnx(path))
        # What the exporter noted speaks of a batch of any size.
        del model.graph.value_info[:]
        ends = (*true_inputs(model.graph), *model.graph.output)
        batches = [_fix_batch(value.type.tensor_type.shape.dim) for value in ends]
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (OSError, RuntimeError, ValueError) as failure:
        raise ExportError(
            f"{path} cannot be counted: {type(failure).__name__}: {_first_line(failure)}. "
            "Export the network again."
        ) from failure
    return model.graph, max(batches, default=1)


def _fix_batch(dims: Any) -> int:
    if dims and not dims[0].HasField("dim_value"):
        dims[0].dim_value = 1
    return dims[0].dim_value if dims else 1


def _first_line(failure: Exception) -> str:
    return (str(failure).strip().splitlines() or ["no message"])[0].rstrip(".")


def _macs(node: Any, shapes: Shapes, path: Path) -> int:
    if node.op_type in UNCOUNTED:
        raise ExportError(
            f"{path}: {node.name or node.op_type} is a {node.op_type}, whose products are not "
            "counted. Count the network in PyTorch with compressor.count."
        )
    if node.op_type not in FACTORS:
        return 0
    rule, places = FACTORS[node.op_type]
    names = [node.output[0], *(node.input[place] for place in places)]
    if unknown := [name for name in names if name not in shapes]:
        raise ExportError(
            f"{path}: the shape of {unknown[0]} at {node.name or node.op_type} is not known before "
            "the network runs. Export it for images of one size."
        )
    output, *factors = (shapes[name] for name in names)
    return rule(node, output, factors)


def _convolution(_node: Any, output: tuple[int, ...], factors: list[tuple[int, ...]]) -> int:
    # Each weight is used once for each image and position of the output.
    return output[0] * math.prod(output[2:]) * math.prod(factors[0])


def _transposed(_node: Any, _output: tuple[int, ...], factors: list[tuple[int, ...]]) -> int:
    visited = factors[0]
    return visited[0] * math.prod(visited[2:]) * math.prod(factors[1])


def _product(_node: Any, output: tuple[int, ...], factors: list[tuple[int, ...]]) -> int:
    return math.prod(output) * factors[0][-2:][0]


def _gemm(node: Any, output: tuple[int, ...], factors: list[tuple[int, ...]]) -> int:
    return math.prod(output) * factors[0][1 if attribute(node, "transB", 0) else 0]


def _attention(_node: Any, output: tuple[int, ...], factors: list[tuple[int, ...]]) -> int:
    # Queries with keys, and what comes of it with values, whose width is that of the output. Heads
    # stand on an axis of their own, or inside the width: the products are the same.
    query, key = factors
    return key[-2] * (math.prod(query) + math.prod(output))


Rule = Callable[[Any, tuple[int, ...], list[tuple[int, ...]]], int]

FACTORS: dict[str, tuple[Rule, tuple[int, ...]]] = {
    "Conv": (_convolution, (1,)),
    "ConvInteger": (_convolution, (1,)),
    "QLinearConv": (_convolution, (3,)),
    "ConvTranspose": (_transposed, (0, 1)),
    "MatMul": (_product, (1,)),
    "MatMulInteger": (_product, (1,)),
    "QLinearMatMul": (_product, (3,)),
    "Gemm": (_gemm, (1,)),
    "Attention": (_attention, (0, 1)),
}
"""For each counted operator its rule, and of which inputs, beside its output, it asks the shape."""

UNCOUNTED = frozenset({"Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"})
"""Operators that may multiply, in ways that this count does not follow."""

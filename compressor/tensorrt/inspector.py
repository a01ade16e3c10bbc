"""The layers of a built plan, from the JSON that the engine's inspector gives.

Two schemas are read. To 10.x a tensor has one text ``Format/Datatype``; from 11.0 on it has
``Format`` and ``Datatype`` apart. Where sizes are free it has ``N/A due to dynamic shapes`` in
place of a type, unless the inspector was given a context in which they are set. No plan could be
inspected where this was written: both are read by their description.
"""

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from compressor.errors import CheckError

UNKNOWN = "unknown"

# Text of a type -> our name; a format may stand around it ("Row major linear FP16 format").
TYPES = (
    (re.compile(r"\b(?:bf16|bfloat16)\b"), "bf16"),
    (re.compile(r"\b(?:fp16|half|float16)\b"), "fp16"),
    (re.compile(r"\b(?:fp32|float|float32)\b"), "fp32"),
    (re.compile(r"\bfp8(?:e4m3)?\b"), "fp8"),
    (re.compile(r"\bfp4\b"), "fp4"),
    (re.compile(r"\bint8\b"), "int8"),
    (re.compile(r"\bint4\b"), "int4"),
    (re.compile(r"\bint32\b"), "int32"),
    (re.compile(r"\bint64\b"), "int64"),
    (re.compile(r"\bbool\b"), "bool"),
)

PRODUCT = re.compile(r"conv|gemm|matmul|matrixmultiply|matrix_multiply|fully_?connected", re.I)
REFORMAT = re.compile(r"reformat", re.I)
SPARSE_TACTIC = re.compile(r"sparse|spgemm", re.I)
"""In the names of sparse kernels of cuDNN's and cuBLAS's kind; looked for in products alone, since
there are operations on sparse tensors that are called so as well. Not checked on any GPU."""

# In a layer's metadata, one after the other, control characters between them.
NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\s]|\[ONNX|$)")
FUSED = " + "  # between the nodes that a layer is named after
PROPERTIES = " | "  # between a node's name and what else metadata says of it

BITS = {
    **{"fp32": 32, "int32": 32, "int64": 64, "fp16": 16, "bf16": 16},
    **{"int8": 8, "fp8": 8, "bool": 8, "int4": 4, "fp4": 4},
}


@dataclass(frozen=True)
class PlanTensor:
    """What a layer reads or writes.

    Attributes:
        name: As the builder calls it.
        num_bytes: Its size, what the format pads left out; ``None`` where that is not said.
    """

    name: str
    num_bytes: int | None


@dataclass(frozen=True)
class PlanLayer:
    """One layer of a plan; often several of the file, fused.

    Attributes:
        name: As the builder calls it.
        precision: Type of what it reads first; of its weights where that is not said, and
            ``"unknown"`` where neither is.
        is_product: Whether it holds a convolution or a matrix product of the file.
        is_reformat: Whether it only changes a layout or a type.
        is_sparse: Whether it is a product whose tactic is named after a sparse one.
        kind: The engine's word for what it is; empty where there is none.
        nodes: Names of the nodes of the file that it holds. Where the engine gives no metadata,
            those that it is named after, some of which may be none.
        inputs: What it reads, weights left out.
        outputs: What it writes.
    """

    name: str
    precision: str
    is_product: bool
    is_reformat: bool
    is_sparse: bool
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[PlanTensor, ...]
    outputs: tuple[PlanTensor, ...]


def read_layers(
    text: str, plan: str, products: Collection[str] | None = None
) -> tuple[PlanLayer, ...]:
    """Layers of a plan, in its order.

    Args:
        text: JSON of the inspector.
        plan: What to call the plan in an error.
        products: Names of the nodes of the file that are convolutions or matrix products. Where
            they are not at hand, ``None``, what the engine calls a layer says what it is.

    Raises:
        CheckError: It does not say what the layers are.
    """
    layers = decoded(text).get("Layers")
    if not isinstance(layers, list) or not layers:
        raise CheckError(f"{plan}: the engine lists no layers. Its precision cannot be checked.")
    if not all(isinstance(layer, dict) for layer in layers):
        raise CheckError(
            f"{plan} was built without details, and its layers cannot be checked. Build it again."
        )
    return tuple(plan_layer(layer, products) for layer in layers)


def decoded(text: str) -> dict[str, Any]:
    """The inspector's JSON; empty where it is none."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def plan_layer(layer: dict[str, Any], products: Collection[str] | None) -> PlanLayer:
    """One layer, of either schema."""
    kinds = kinds_of(layer)
    is_reformat = any(REFORMAT.search(kind) for kind in kinds)
    is_product = not is_reformat and holds_product(layer, products)
    return PlanLayer(
        name=name_of(layer),
        precision=layer_precision(layer),
        is_product=is_product,
        is_reformat=is_reformat,
        is_sparse=is_product and bool(SPARSE_TACTIC.search(str(layer.get("TacticName", "")))),
        kind=kinds[0],
        nodes=held_nodes(layer),
        inputs=plan_tensors(layer.get("Inputs")),
        outputs=plan_tensors(layer.get("Outputs")),
    )


def name_of(layer: dict[str, Any]) -> str:
    """What the builder calls a layer."""
    return str(layer.get("Name", UNKNOWN))


def kinds_of(layer: dict[str, Any]) -> list[str]:
    """The engine's words for what a layer is, the general one first."""
    return [str(layer.get(key, "")) for key in ("LayerType", "ParameterType")]


def holds_product(layer: dict[str, Any], products: Collection[str] | None) -> bool:
    """Whether a convolution or a matrix product of the file is computed in a layer.

    Names of nodes decide, by which the engine says what it fused. A name alone says nothing: a
    rectifier may be called ``/conv1/Relu``. Without them it is the engine's word for the layer.
    What the engine splits off a node, such as the bias of a linear layer, counts as one too.
    """
    if products is not None and not set(products).isdisjoint(held_nodes(layer)):
        return True
    if products is not None and named_nodes(layer):
        return False
    return any(PRODUCT.search(kind) for kind in kinds_of(layer))


def held_nodes(layer: dict[str, Any]) -> tuple[str, ...]:
    """Names of the nodes of the file that a layer holds, each once, in the engine's order."""
    return tuple(dict.fromkeys(named_nodes(layer) or name_of(layer).split(FUSED)))


def named_nodes(layer: dict[str, Any]) -> list[str]:
    """Nodes of the file that a layer's metadata names; empty where it has none."""
    found = NODE.findall(str(layer.get("Metadata", "")))
    return [text.partition(PROPERTIES)[0] for text in found]


def plan_tensors(tensors: Any) -> tuple[PlanTensor, ...]:
    """Inputs or outputs of a layer; empty where they are not given in detail."""
    described = [tensor for tensor in tensors or [] if isinstance(tensor, dict)]
    return tuple(
        PlanTensor(str(tensor.get("Name", UNKNOWN)), tensor_bytes(tensor)) for tensor in described
    )


def tensor_bytes(tensor: dict[str, Any]) -> int | None:
    """Size of a tensor; ``None`` where a size is free or its type is unknown."""
    dims, bits = tensor.get("Dimensions"), BITS.get(tensor_type(tensor))
    if bits is None or not isinstance(dims, list):
        return None
    if not all(isinstance(size, int) and size >= 0 for size in dims):
        return None
    return -(-math.prod(dims) * bits // 8)


def layer_precision(layer: dict[str, Any]) -> str:
    """Type of the first input, of the first output for a layer without inputs, or of the weights.

    In a strongly typed plan, which ours are, a product reads its weights in the type of its input.
    """
    first, *_ = layer.get("Inputs") or layer.get("Outputs") or [None]
    weights = layer.get("Weights")
    described = [each for each in (first, weights) if isinstance(each, dict)]
    return next((kind for each in described if (kind := tensor_type(each)) != UNKNOWN), UNKNOWN)


def tensor_type(tensor: dict[str, Any]) -> str:
    """Our name of the type of a tensor, of either schema, or of weights."""
    keys = ("Datatype", "DataType", "Format/Datatype", "Type")
    text = next((str(tensor[key]) for key in keys if tensor.get(key)), "")
    return next((name for pattern, name in TYPES if pattern.search(text.lower())), UNKNOWN)

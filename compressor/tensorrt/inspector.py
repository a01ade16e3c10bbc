"""The layers of a built plan, from the JSON that the engine's inspector gives.

Two schemas are read. To 10.x a tensor has one text ``Format/Datatype``; from 11.0 on it has
``Format`` and ``Datatype`` apart. No plan could be inspected where this was written: both are read
by their description.
"""

import json
import math
import re
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
SPARSE_TACTIC = re.compile(r"sparse|spgemm|_sp_", re.I)

# In a layer's metadata, one after the other, control characters between them.
NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\s]|\[ONNX|$)")
FUSED = " + "  # between the nodes that a layer is named after

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
        precision: Type of what it reads first, ``"unknown"`` where that is not said.
        is_product: Whether it holds a convolution or a matrix product.
        is_reformat: Whether it only changes a layout or a type.
        is_sparse: Whether its tactic is a sparse one.
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


def read_layers(text: str, plan: str) -> tuple[PlanLayer, ...]:
    """Layers of a plan, in its order.

    Args:
        text: JSON of the inspector.
        plan: What to call the plan in an error.

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
    return tuple(map(plan_layer, layers))


def decoded(text: str) -> dict[str, Any]:
    """The inspector's JSON; empty where it is none."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def plan_layer(layer: dict[str, Any]) -> PlanLayer:
    """One layer, of either schema."""
    kinds = [str(layer.get(key, "")) for key in ("LayerType", "ParameterType")]
    tactic = str(layer.get("TacticName", ""))
    # Metadata names the nodes of the file that a fused layer holds.
    words = " ".join([*kinds, tactic, str(layer.get("Metadata", ""))])
    is_reformat = any(REFORMAT.search(kind) for kind in kinds)
    name = str(layer.get("Name", UNKNOWN))
    return PlanLayer(
        name=name,
        precision=layer_precision(layer),
        is_product=bool(PRODUCT.search(words)) and not is_reformat,
        is_reformat=is_reformat,
        is_sparse=bool(SPARSE_TACTIC.search(tactic)),
        kind=kinds[0],
        nodes=held_nodes(name, str(layer.get("Metadata", ""))),
        inputs=plan_tensors(layer.get("Inputs")),
        outputs=plan_tensors(layer.get("Outputs")),
    )


def held_nodes(name: str, metadata: str) -> tuple[str, ...]:
    """Names of the nodes of the file that a layer holds, each once, in the engine's order."""
    return tuple(dict.fromkeys(NODE.findall(metadata) or name.split(FUSED)))


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
    """Type of the first input; of the first output for a layer without inputs."""
    tensors = layer.get("Inputs") or layer.get("Outputs") or []
    return tensor_type(tensors[0]) if tensors and isinstance(tensors[0], dict) else UNKNOWN


def tensor_type(tensor: dict[str, Any]) -> str:
    """Our name of a tensor's type, of either schema."""
    text = str(tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype"))
    return next((name for pattern, name in TYPES if pattern.search(text.lower())), UNKNOWN)

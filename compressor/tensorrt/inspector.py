"""The layers of a built plan, from the JSON that the engine's inspector gives.

Two schemas are read. To 10.x a tensor has one text ``Format/Datatype``; from 11.0 on it has
``Format`` and ``Datatype`` apart. No plan could be inspected where this was written: both are read
by their description.
"""

import json
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


@dataclass(frozen=True)
class PlanLayer:
    """One layer of a plan; often several of the file, fused.

    Attributes:
        name: As the builder calls it.
        precision: Type of what it reads first, ``"unknown"`` where that is not said.
        is_product: Whether it holds a convolution or a matrix product.
        is_reformat: Whether it only changes a layout or a type.
        is_sparse: Whether its tactic is a sparse one.
    """

    name: str
    precision: str
    is_product: bool
    is_reformat: bool
    is_sparse: bool


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
    return PlanLayer(
        name=str(layer.get("Name", UNKNOWN)),
        precision=layer_precision(layer),
        is_product=bool(PRODUCT.search(words)) and not is_reformat,
        is_reformat=is_reformat,
        is_sparse=bool(SPARSE_TACTIC.search(tactic)),
    )


def layer_precision(layer: dict[str, Any]) -> str:
    """Type of the first input; of the first output for a layer without inputs."""
    tensors = layer.get("Inputs") or layer.get("Outputs") or []
    return tensor_type(tensors[0]) if tensors and isinstance(tensors[0], dict) else UNKNOWN


def tensor_type(tensor: dict[str, Any]) -> str:
    """Our name of a tensor's type, of either schema."""
    text = str(tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype"))
    return next((name for pattern, name in TYPES if pattern.search(text.lower())), UNKNOWN)

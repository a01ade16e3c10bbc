"""What is read of an ONNX file everywhere: inputs, makers, shapes, the module of a node."""

import ast
import importlib
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import ModuleType
from typing import Any

from compressor.errors import MissingExtra, ModelError

Size = int | str | None
"""A size of a tensor: a number, the name of a free size, or ``None`` for one without a name."""

PRODUCT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that multiply what comes in with a weight; a matrix product may have none."""

SCOPES = "pkg.torch.onnx.name_scopes"
NO_SCOPE = "_empty_nn_module_stack"
"""Begins the exporter's name for the scope of what no module called."""


def onnx_module(name: str = "onnx") -> ModuleType:
    """ONNX or a module that comes with it.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise MissingExtra(
            f"{name} cannot be imported ({reason}). Install it: python -m pip install onnx"
        ) from error


def load_onnx(path: Path, *, with_data: bool = True) -> Any:
    """The file at ``path`` as a ``ModelProto``.

    Args:
        path: The file.
        with_data: Whether weights that lie in files beside it are read too.

    Raises:
        ModelError: There is no such file, it is not ONNX, a part of it is missing, or it holds no
            network.
        MissingExtra: ONNX is not installed.
    """
    onnx = onnx_module()
    decode_error = onnx_module("google.protobuf.message").DecodeError
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file. Export the network first.")
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except decode_error as failure:  # a file that cannot be read at all is the machine's fault
        raise ModelError(f"{path} is not an ONNX file. Export the network again.") from failure
    if not proto.graph.node:  # nearly any bytes are some protobuf message, without a graph
        raise ModelError(
            f"{path} is not an ONNX file, or holds no network. Export the network again."
        )
    if with_data:
        _load_data_(onnx, proto, path)
    return proto


def _load_data_(onnx: Any, proto: Any, path: Path) -> None:
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (onnx.checker.ValidationError, OSError) as failure:
        reason = str(failure).splitlines()[0]
        raise ModelError(
            f"{path}: a part that lies in a file of its own cannot be read ({reason}). "
            "Copy the files together."
        ) from failure


def true_inputs(graph: Any) -> list[Any]:
    """Inputs without a stored value: old files list their weights among the inputs too."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def sizes(value: Any) -> tuple[Size, ...]:
    """Sizes of an input, an output or a value between."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in value.type.tensor_type.shape.dim
    )


def type_name(kind: int) -> str:
    """ONNX's name of an element type, such as ``FLOAT16``; its number where it has no name."""
    types = onnx_module().TensorProto.DataType
    return str(types.Name(kind)) if kind in types.values() else str(kind)


def known_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor whose shape is known in full."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        found = sizes(value)
        numbers = tuple(size for size in found if isinstance(size, int))
        if value.type.tensor_type.HasField("shape") and len(numbers) == len(found):
            shapes[value.name] = numbers
    return shapes


def makers_of(graph: Any) -> dict[str, Any]:
    """Each tensor that is computed, by name, and the node that does."""
    return {name: node for node in graph.node for name in node.output if name}


def source_of(name: str, makers: dict[str, Any], through: AbstractSet[str]) -> str:
    """Name of the tensor from which ``name`` comes by nothing but operators in ``through``."""
    while name in makers and makers[name].op_type in through:
        name = makers[name].input[0]
    return name


def attribute(node: Any, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def scope(node: Any) -> str:
    """Module in whose forward ``node`` was called, as the exporter noted it; may be empty."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            try:
                *modules, _call = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return ""
            known = [str(name) for name in modules if not str(name).startswith(NO_SCOPE)]
            return known[-1] if known else ""
    return ""

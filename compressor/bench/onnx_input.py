"""The images that an ONNX file takes, and a clear word where it is no network for images."""

from pathlib import Path
from typing import Any

from compressor.bench.runner import import_engine
from compressor.errors import ModelError

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

IMAGE_CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency
EXPORT_AGAIN = "Export it again with compressor."


def onnx_image_shape(path: Path) -> ImageShape:
    """Channels, height and width of the images that the network in ``path`` takes.

    Raises:
        ModelError: It cannot be read, holds no weights, or its input is not one float32 batch of
            images of one size, channels first.
        MissingExtra: ONNX is not installed.
    """
    onnx = import_engine("onnx", "onnx")
    graph = _graph(onnx, path)
    stored = {tensor.name for tensor in graph.initializer}
    if not stored and not any(node.op_type == "Constant" for node in graph.node):
        raise ModelError(
            f"{path} holds no weights (no initializers): they are inputs, or were left out. "
            f"{EXPORT_AGAIN}"
        )
    # Old files list their weights among the inputs too.
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"{path} has {len(inputs)} inputs ({names}), not one. {EXPORT_AGAIN}")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ModelError(f"{path}: its input is {kind}, not float32. {EXPORT_AGAIN}")
    dims = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim
    ]
    return _images(path, dims)


def _graph(onnx: Any, path: Path) -> Any:
    decode_error = import_engine("google.protobuf.message", "onnx").DecodeError
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except decode_error as failure:  # a file that cannot be read at all is the machine's fault
        raise ModelError(f"{path} is not an ONNX file. {EXPORT_AGAIN}") from failure
    if not graph.node:  # nearly any bytes are some protobuf message, without a graph
        raise ModelError(f"{path} is not an ONNX file, or is an empty one. {EXPORT_AGAIN}")
    return graph


def _images(path: Path, dims: list[int | str]) -> ImageShape:
    if len(dims) != 4:
        raise ModelError(
            f"{path} takes an input of shape {dims}, not images of shape "
            f"[batch, channels, height, width]. {EXPORT_AGAIN}"
        )
    _batch, channels, height, width = dims
    # [n, 64, 4, 4] is small, channels first: only a last size that stands out is one of channels.
    if width in IMAGE_CHANNELS and not {channels, height} & set(IMAGE_CHANNELS):
        raise ModelError(
            f"{path} takes an input of shape {dims}, channels last (NHWC). "
            "Export it channels first: [batch, channels, height, width]."
        )
    for name, size in (("channels", channels), ("height", height), ("width", width)):
        if not isinstance(size, int) or size < 1:
            raise ModelError(
                f"{path} takes an input of shape {dims}, whose {name} is not fixed. "
                "Export it for images of one size; only the batch may be free."
            )
    assert isinstance(channels, int)
    assert isinstance(height, int)
    assert isinstance(width, int)
    return channels, height, width

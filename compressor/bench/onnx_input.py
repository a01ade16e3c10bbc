"""The images that an ONNX file takes, and a clear word where it is no network for images."""

from collections.abc import Mapping
from pathlib import Path

from compressor.errors import ModelError
from compressor.onnx_graph import load_onnx, sizes, true_inputs, type_name

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

IMAGE_CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency
EXPORT_AGAIN = "Export it again with compressor."


def onnx_image_shape(path: Path) -> ImageShape:
    """Channels, height and width of the images that the network in ``path`` takes.

    Raises:
        ModelError: It is not there or not ONNX, holds no weights, or its input is not one float32
            batch of images of one size, channels first.
        MissingExtra: ONNX is not installed.
    """
    graph = load_onnx(path, with_data=False).graph
    if not graph.initializer and not any(node.op_type == "Constant" for node in graph.node):
        raise ModelError(
            f"{path} holds no weights (no initializers): they are inputs, or were left out. "
            f"{EXPORT_AGAIN}"
        )
    inputs = true_inputs(graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"{path} has {len(inputs)} inputs ({names}), not one. {EXPORT_AGAIN}")
    kind = type_name(inputs[0].type.tensor_type.elem_type)
    if kind != "FLOAT":
        raise ModelError(f"{path}: its input is {kind.lower()}, not float32. {EXPORT_AGAIN}")
    return _images(path, ["?" if size is None else size for size in sizes(inputs[0])])


def common_shape(shapes: Mapping[str, ImageShape]) -> ImageShape:
    """The one shape of images in ``shapes``, of what is called by their keys; at least one.

    Raises:
        ModelError: They differ: neither times nor outputs say anything together.
    """
    first, wanted = next(iter(shapes.items()))
    for name, shape in shapes.items():
        if shape != wanted:
            raise ModelError(
                f"{first} takes images of {list(wanted)}, {name} of {list(shape)}. "
                "Compare networks for the same images."
            )
    return wanted


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

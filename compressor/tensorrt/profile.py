"""Sizes of the inputs that a plan takes, from the file's own sizes and the batch range."""

from compressor.errors import ModelError
from compressor.onnx_graph import Size
from compressor.tensorrt.graph import OnnxGraph
from compressor.tensorrt.settings import BatchRange
from compressor.tensorrt.sidecar import Shapes


def input_shapes(graph: OnnxGraph, batch: BatchRange | None) -> dict[str, Shapes]:
    """Input -> smallest, best and largest sizes; all equal where the file has a fixed batch.

    Raises:
        ModelError: A size that is no batch is free, or the file and ``batch`` do not fit.
    """
    return {name: shapes_of(graph, name, batch) for name in graph.inputs}


def shapes_of(graph: OnnxGraph, name: str, batch: BatchRange | None) -> Shapes:
    """Sizes of one input.

    Raises:
        ModelError: See ``input_shapes``.
    """
    sizes = graph.inputs[name]
    fixed = tuple(size for size in sizes[1:] if isinstance(size, int))
    if len(fixed) != len(sizes[1:]):
        raise ModelError(
            f"{graph.path}: input {name} has the shape {shown(sizes)}, and only its first size, "
            "the batch, may be free. Export the network for images of one size."
        )
    if not sizes:  # one number, which no batch applies to
        return Shapes(min=(), opt=(), max=())
    if isinstance(sizes[0], int):
        check_fixed(graph, name, batch)
        only = tuple(size for size in sizes if isinstance(size, int))
        return Shapes(min=only, opt=only, max=only)
    if batch is None:
        raise ModelError(
            f"{graph.path}: input {name} has the shape {shown(sizes)} with a free batch, and no "
            "batch is set. Set batch with min, opt and max."
        )
    return Shapes(min=(batch.min, *fixed), opt=(batch.opt, *fixed), max=(batch.max, *fixed))


def check_fixed(graph: OnnxGraph, name: str, batch: BatchRange | None) -> None:
    """Refuse a batch range for a file that has one batch.

    Raises:
        ModelError: The range has another batch than the file.
    """
    sizes = graph.inputs[name]
    if batch is not None and {batch.min, batch.opt, batch.max} != set(sizes[:1]):
        raise ModelError(
            f"{graph.path}: input {name} has the fixed shape {shown(sizes)}, and batch asks for "
            f"{batch.min} to {batch.max}. Leave batch out, or export with a free batch."
        )


def shown(sizes: tuple[Size, ...]) -> str:
    """Sizes as people write them, ``?`` for one that is free and has no name."""
    return "x".join("?" if size is None else str(size) for size in sizes)

"""The share of layers at each precision, and the gate on it: before the build and after."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from compressor.engines import Precision
from compressor.errors import CheckError
from compressor.file_profile import read_profile
from compressor.settings import Settings
from compressor.tensorrt.graph import OnnxGraph
from compressor.tensorrt.inspector import PlanLayer
from compressor.tensorrt.settings import MIN_SHARE, PrecisionGate

NAMED = 3  # layers that an error names


class Precisions(Settings):
    """Precisions of a plan, read back from it."""

    products: dict[str, int]
    """Precision -> layers with a convolution or matrix product."""
    others: dict[str, int]
    """Precision -> other layers, those that only change a layout left out."""
    num_reformats: int
    """Layers that only change a layout or a type: what mixed precisions cost."""

    def share(self, precision: str) -> float:
        """Share of the convolutions and matrix products that run at ``precision``, in [0, 1]."""
        total = sum(self.products.values())
        return self.products.get(precision, 0) / total if total else 0.0


def plan_precisions(layers: Sequence[PlanLayer]) -> Precisions:
    """Count the layers of a plan."""
    others = [layer for layer in layers if not layer.is_product and not layer.is_reformat]
    return Precisions(
        products=dict(Counter(layer.precision for layer in layers if layer.is_product)),
        others=dict(Counter(layer.precision for layer in others)),
        num_reformats=sum(layer.is_reformat for layer in layers),
    )


def share_gate(graph: OnnxGraph, precision: Precision, min_share: float) -> PrecisionGate:
    """What the plan of a file must hold: ``min_share`` of the share that the file has itself.

    Layers that were kept in float32 for the accuracy's sake are thus allowed for.

    Raises:
        CheckError: The file has no layer at ``precision``: all of them were kept in float32.
    """
    found, total = graph.precisions().get(precision, 0), len(graph.layers)
    if found == 0:
        raise CheckError(
            f"{graph.path}: none of its {total} convolutions and matrix products is {precision}, "
            "so its plan would not be either. Build from another file, or leave its profile out of "
            "tensorrt.profiles."
        )
    return PrecisionGate(precision=precision, min_share=min_share * (found / total))


def noted_gate(graph: OnnxGraph) -> PrecisionGate | None:
    """The gate that a file's own note of its profile asks for; ``None`` if it has no note.

    Raises:
        CheckError: No layer is at the precision of its profile.
    """
    # Profiles are named after their precision: fp16, int8-tensorrt.
    noted = read_profile(graph.path).name.partition("-")[0]
    for precision in get_args(Precision):
        if precision == noted:
            return share_gate(graph, precision, MIN_SHARE)
    return None


def check_graph(graph: OnnxGraph, gate: PrecisionGate) -> None:
    """Refuse a file that was not converted to the precision that was meant.

    Raises:
        CheckError: Too few of its layers are at it.
    """
    wrong = [layer for layer in graph.layers if layer.precision != gate.precision]
    at_others = [f"{layer.name} ({layer.precision})" for layer in wrong]
    check_share(str(graph.path), len(graph.layers), at_others, gate)


def check_plan(plan: str, layers: Sequence[PlanLayer], gate: PrecisionGate) -> None:
    """Refuse a plan whose layers do not run at the precision that was meant.

    Raises:
        CheckError: Too few of its convolutions and matrix products do, or it shows none.
    """
    products = [layer for layer in layers if layer.is_product]
    wrong = [layer for layer in products if layer.precision != gate.precision]
    at_others = [f"{layer.name} ({layer.precision})" for layer in wrong]
    check_share(plan, len(products), at_others, gate)


def check_share(what: str, total: int, at_others: Sequence[str], gate: PrecisionGate) -> None:
    """Refuse too small a share.

    Args:
        what: The file.
        total: Number of its convolutions and matrix products.
        at_others: Those at another precision, each with its precision.
        gate: What was meant.

    Raises:
        CheckError: The share is below the gate's, or there is nothing to take a share of.
    """
    if total == 0:
        raise CheckError(
            f"{what} shows no convolution or matrix product: whether it is {gate.precision} cannot "
            "be said. Leave the gate out, or build from another file."
        )
    share = (total - len(at_others)) / total
    if share < gate.min_share:
        more = f" and {len(at_others) - NAMED} more" if len(at_others) > NAMED else ""
        raise CheckError(
            f"{what}: {total - len(at_others)} of {total} layers are {gate.precision}, a share of "
            f"{share:.2f}, and at least {gate.min_share:.2f} was asked for. Others: "
            f"{', '.join(at_others[:NAMED])}{more}. Convert those layers, or lower gate.min_share."
        )

"""2:4 sparse weights: which layers have them, and for which the builder took a sparse tactic.

Two of every four consecutive input channels at most, for each output channel and each place of the
kernel. A layer whose input channels are no multiple of four is never taken.
"""

from collections import Counter
from typing import Any

import numpy as np

from compressor.errors import ModelError
from compressor.settings import Settings
from compressor.tensorrt.graph import Layer, OnnxGraph

GROUP = 4
KEPT = 2

COMPUTED = "the weight is computed"
TRANSPOSED = "it is a transposed convolution"
MISALIGNED = "the input channels are no multiple of 4"
DENSE = "some 4 input channels have more than 2 weights"


class SparseReport(Settings):
    """What became of the wish for sparse tactics."""

    eligible: tuple[str, ...]
    """Layers whose weights are 2:4."""
    refused: dict[str, int]
    """Why the other layers are not -> how many."""
    chosen: tuple[str, ...] | None
    """Layers that run a sparse tactic, read back from the plan; ``None`` if it cannot be read."""
    log: tuple[str, ...]
    """What the builder said of it."""

    def __str__(self) -> str:
        """One line for people."""
        others = "".join(f", {count} not: {reason}" for reason, count in self.refused.items())
        chosen = "unknown" if self.chosen is None else str(len(self.chosen))
        return f"{len(self.eligible)} layers eligible for 2:4{others}; sparse tactics: {chosen}"


def sparse_report(graph: OnnxGraph) -> SparseReport:
    """Which layers of a file may run sparse; what was chosen is not known before the build."""
    reasons = {layer.name: why_not(layer) for layer in graph.layers}
    return SparseReport(
        eligible=tuple(name for name, reason in reasons.items() if reason is None),
        refused=dict(Counter(reason for reason in reasons.values() if reason is not None)),
        chosen=None,
        log=(),
    )


def check_eligible(graph: OnnxGraph) -> SparseReport:
    """The report of a file that has a 2:4 layer.

    Raises:
        ModelError: It has none, so there is nothing that ``sparse_weights`` could do.
    """
    report = sparse_report(graph)
    if report.eligible:
        return report
    reasons = ", ".join(f"{count}: {reason}" for reason, count in report.refused.items())
    raise ModelError(
        f"{graph.path}: sparse_weights is on, and no layer has 2:4 weights ({reasons}). Train with "
        "a 2:4 method and strip to multiples of 4, or leave it out."
    )


def why_not(layer: Layer) -> str | None:
    """Why a layer cannot run sparse; ``None`` if it can."""
    if layer.operator == "ConvTranspose":
        return TRANSPOSED
    if layer.weight is None:
        return COMPUTED
    if layer.weight.shape[layer.contracted] % GROUP:
        return MISALIGNED
    return None if is_two_of_four(layer.weight, layer.contracted) else DENSE


def is_two_of_four(weight: "np.ndarray[Any, Any]", axis: int) -> bool:
    """Whether each four consecutive entries along ``axis`` hold at most two that are not zero.

    Args:
        weight: Any shape; its size along ``axis`` is a multiple of four.
        axis: Input channels.
    """
    along_last = np.moveaxis(weight != 0, axis, -1)
    counts = along_last.reshape(-1, GROUP).sum(axis=-1)
    return bool((counts <= KEPT).all())

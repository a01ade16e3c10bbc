"""2:4 sparse weights: which layers have them, and for which the builder took a sparse tactic.

Two of every four consecutive input channels at most, for each output channel and each place of the
kernel. A layer whose input channels are no multiple of four is never taken.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor.errors import ModelError
from compressor.settings import Settings
from compressor.tensorrt.graph import Layer, OnnxGraph
from compressor.tensorrt.inspector import PlanLayer

GROUP = 4
KEPT = 2

COMPUTED = "the weight is computed"
TRANSPOSED = "it is a transposed convolution"
MISALIGNED = "the input channels are no multiple of 4"
DENSE = "some 4 input channels have more than 2 weights"

CHOSE = re.compile(r"\(Sparsity\) Chose (\d+) ")
"""In the builder's log: how many layers run a sparse tactic."""


class SparseReport(Settings):
    """What became of the wish for sparse tactics."""

    eligible: tuple[str, ...]
    """Layers whose weights are 2:4."""
    refused: dict[str, int]
    """Why the other layers are not -> how many."""
    chosen: tuple[str, ...] | None
    """Layers of the plan whose tactic is named after a sparse one; ``None`` if it cannot be read.
    That such names are told rightly was not checked on any GPU."""
    num_logged: int | None
    """How many layers run a sparse tactic by the builder's log; ``None`` where it does not say."""
    log: tuple[str, ...]
    """What the builder said of it."""

    def __str__(self) -> str:
        """One line for people."""
        others = "".join(f", {count} not: {reason}" for reason, count in self.refused.items())
        named = "unknown" if self.chosen is None else str(len(self.chosen))
        logged = "unknown" if self.num_logged is None else str(self.num_logged)
        return (
            f"{len(self.eligible)} layers eligible for 2:4{others}; sparse tactics: {named} by "
            f"their names (unmeasured), {logged} by the builder's log"
        )

    def warning(self) -> str | None:
        """What is wrong with the wish or with what is known of it; ``None`` if nothing is."""
        named = None if self.chosen is None else len(self.chosen)
        counts = {count for count in (named, self.num_logged) if count is not None}
        if counts == {0}:
            return "sparse_weights is on and no layer runs a sparse tactic: 2:4 gains nothing here"
        if len(counts) > 1:
            return (
                f"sparse tactics are {named} by their names and {self.num_logged} by the builder's "
                "log: believe the log"
            )
        return None


def sparse_report(graph: OnnxGraph) -> SparseReport:
    """Which layers of a file may run sparse; what was chosen is not known before the build."""
    reasons = {layer.name: why_not(layer) for layer in graph.layers}
    return SparseReport(
        eligible=tuple(name for name, reason in reasons.items() if reason is None),
        refused=dict(Counter(reason for reason in reasons.values() if reason is not None)),
        chosen=None,
        num_logged=None,
        log=(),
    )


def report_of_build(
    report: SparseReport, layers: Sequence[PlanLayer] | None, log: Sequence[str]
) -> SparseReport:
    """The report with what was chosen.

    Args:
        report: What was known of the file.
        layers: Of the plan; ``None`` if it cannot be read.
        log: What the builder said of sparse layers.
    """
    chosen = None if layers is None else tuple(each.name for each in layers if each.is_sparse)
    counts = [int(found.group(1)) for text in log if (found := CHOSE.search(text))]
    return report.model_copy(
        update={
            "chosen": chosen,
            # Should it be said more than once, the last word counts.
            "num_logged": counts[-1] if counts else None,
            "log": tuple(log),
        }
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

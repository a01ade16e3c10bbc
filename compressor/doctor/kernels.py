"""The kernels of a network and what each takes, whatever engine it was profiled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressor.doctor.graphs import LAYOUT_OPS, Exported

Images = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Kernel:
    """One operator as the engine runs it.

    Attributes:
        name: Of its node in the engine's own graph.
        op: Its operator there.
        us: Microseconds of one run: the fastest of all. Other programs can only add to it.
        moved_bytes: Of its inputs and outputs, activations alone.
        weight_bytes: Of its weights, so far as the engine counts them.
    """

    name: str
    op: str
    us: float
    moved_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class KernelTimes:
    """One network's kernels in the order in which they run, and the graphs they are of.

    Attributes:
        kernels: Each once.
        exported: The graph of the file.
        nodes: Of the engine's own graph, named as the kernels; each has ``name``, ``input`` and
            ``output`` as an ONNX ``NodeProto``.
        work: For each of them, by name, the nodes of ``exported`` whose work it does.
        overhead_us: Microseconds up to which a kernel of this engine is all fixed cost.
    """

    kernels: tuple[Kernel, ...]
    exported: Exported
    nodes: tuple[Any, ...]
    work: Mapping[str, list[Any]]
    overhead_us: float


def unplaced_share(times: KernelTimes) -> float:
    """Share of the time in kernels that do the work of no node of the exported graph, in [0, 1].

    Changes of layout left out: they do none, and belong to what makes or reads the tensor.
    """
    lost = sum(
        kernel.us
        for kernel in times.kernels
        if not times.work.get(kernel.name) and kernel.op not in LAYOUT_OPS
    )
    return lost / (sum(kernel.us for kernel in times.kernels) or 1.0)

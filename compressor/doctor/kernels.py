"""The kernels of a network and what each takes, whatever engine it was profiled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressor.doctor.graphs import Exported
from compressor.errors import CheckError

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


def check_finite(path: Path, output: "np.ndarray[Any, Any]") -> None:
    """Refuse a file whose outputs are no numbers.

    Raises:
        CheckError: Some are NaN or infinite.
    """
    if not np.isfinite(output).all():
        raise CheckError(
            f"{path}: its outputs for a normal random batch are NaN or infinite. "
            "Do not use this file; export the network again."
        )

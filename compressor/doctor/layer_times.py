"""The times of kernels gathered into those of layers, by the module they work for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.doctor.graphs import LAYOUT_OPS, Weight, main_node, owners
from compressor.doctor.kernels import Kernel, KernelTimes
from compressor.export.graph_count import node_macs
from compressor.onnx_graph import attribute


@dataclass(frozen=True)
class LayerTime:
    """What one module of a network costs, for one batch: its time, and what it does in it.

    Attributes:
        name: Of the module.
        us: Microseconds of all of its kernels.
        layout_us: Those of kernels that only change the layout.
        macs: Multiply-accumulates.
        moved_bytes: Read and written by its kernels, weights included.
        num_kernels: How many there are.
        fixed_us: Microseconds up to which as many kernels of this engine are all fixed cost.
        op: The exported operator that holds its weight; None where it has none.
        in_channels: Of the layer that holds its weight; None where it has none.
        out_channels: The same.
    """

    name: str
    us: float
    layout_us: float
    macs: int
    moved_bytes: int
    num_kernels: int
    fixed_us: float
    op: str | None
    in_channels: int | None
    out_channels: int | None

    @property
    def macs_per_us(self) -> float:
        """Multiply-accumulates in one microsecond."""
        return self.macs / self.us if self.us else 0.0


def layer_times(path: Path, times: KernelTimes, batch_size: int) -> dict[str, LayerTime]:
    """Layers of the network in ``path``, by module name, in the order in which they first run.

    Args:
        path: The exported file.
        times: Of that file.
        batch_size: Images that it was profiled with.

    Raises:
        ExportError: Its MACs cannot be counted.
    """
    owner = owners(times.exported, times.nodes, times.work)
    work = _Work(times, node_macs(path))
    groups: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in times.kernels:
        groups[owner[kernel.name]].append(kernel)
    return {name: _layer(name, kernels, work, batch_size) for name, kernels in groups.items()}


@dataclass(frozen=True)
class _Work:
    """The exported nodes behind each kernel, and the MACs of each by its first output."""

    times: KernelTimes
    macs: Mapping[str, int]

    def macs_of(self, kernel: Kernel) -> int:
        return sum(self.macs.get(node.output[0], 0) for node in self.times.work[kernel.name])

    def weight_of(self, kernel: Kernel) -> tuple[Any, Weight] | None:
        nodes = self.times.work[kernel.name]
        if not nodes:
            return None
        node = main_node(self.times.exported, nodes)
        weight = self.times.exported.weight(node)
        return None if weight is None else (node, weight)


def _layer(name: str, kernels: Sequence[Kernel], work: _Work, batch_size: int) -> LayerTime:
    heaviest = max(kernels, key=work.macs_of)
    weighted = work.weight_of(heaviest)
    in_channels, out_channels = (None, None) if weighted is None else channels(*weighted)
    return LayerTime(
        name=name,
        us=sum(kernel.us for kernel in kernels),
        layout_us=sum(kernel.us for kernel in kernels if kernel.op in LAYOUT_OPS),
        macs=batch_size * sum(map(work.macs_of, kernels)),
        moved_bytes=sum(_moved_bytes(kernel, work.weight_of(kernel)) for kernel in kernels),
        num_kernels=len(kernels),
        fixed_us=work.times.overhead_us * len(kernels),
        op=None if weighted is None else weighted[0].op_type,
        in_channels=in_channels,
        out_channels=out_channels,
    )


def _moved_bytes(kernel: Kernel, weighted: tuple[Any, Weight] | None) -> int:
    # The engine does not count a weight that it has packed for itself.
    stored = 0 if weighted is None else weighted[1].num_bytes
    return kernel.moved_bytes + max(kernel.weight_bytes, stored)


def channels(node: Any, weight: Weight) -> tuple[int, int]:
    """Channels in and out of the layer that ``node`` is of."""
    shape = weight.shape
    groups = attribute(node, "group", 1)
    if node.op_type == "Conv":
        return shape[1] * groups, shape[0]
    if node.op_type == "ConvTranspose":
        return shape[0], shape[1] * groups
    turned = node.op_type == "Gemm" and attribute(node, "transB", 0)
    return (shape[-1], shape[-2]) if turned else (shape[-2], shape[-1])

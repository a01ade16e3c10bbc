"""Networks as files, and in time."""

import os
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from compressor.api.given import still
from compressor.bench.engines import Side
from compressor.bench.pair import bench_pair
from compressor.bench.timer import BenchSettings
from compressor.console import Console
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.export.verify import check_parity, parity, random_inputs


def export_network(
    network: nn.Module,
    path: str | os.PathLike[str],
    image_shape: tuple[int, int, int],
    settings: ExportSettings | None = None,
) -> Path:
    """Write ``network`` as ONNX for any batch size, and hold the file against it; the file.

    Args:
        network: A float32 network that takes images and gives logits; left as it is.
        path: Where the file goes.
        image_shape: Channels, height, width.
        settings: As in ``[export]``: the version of the operators.

    Raises:
        ExportError: It cannot be exported, or the file is not what was asked for.
        CheckError: The file computes something else, by more than 1e-4 of the largest output.
    """
    target = Path(path)
    export_onnx(network, image_shape, target, settings or ExportSettings())
    check_parity(parity(network, target, random_inputs(image_shape)), target)
    return target


def bench_networks(
    dense: nn.Module,
    slim: nn.Module,
    image_shape: tuple[int, int, int],
    settings: BenchSettings | None = None,
) -> dict[str, Any]:
    """Latency of two networks on this machine's CPU, taking turns, as the stage ``bench`` has it.

    Args:
        dense: The reference.
        slim: What is compared to it.
        image_shape: Channels, height, width.
        settings: As in ``[bench]``: engines, batch sizes, rounds, threads.

    Returns:
        ``dense`` and ``slim``: engine, batch size (as text), then ``p50``, ``p90``, ``p99`` and
        more, in milliseconds; ``speedup``: ``median``, ``low``, ``high``, above 1 where the slim
        one is faster; ``environment`` and ``method``.

    Raises:
        ExportError: One of them cannot be exported.
        CheckError: A file is not its network, or an output is not finite.
        MissingExtra: An engine is not installed.
    """
    with tempfile.TemporaryDirectory() as aside:
        first, second = (
            Side(network, export_network(network, Path(aside) / name, image_shape), image_shape)
            for name, network in (("dense.onnx", still(dense)), ("slim.onnx", still(slim)))
        )
        return bench_pair(first, second, settings or BenchSettings(), Console(quiet=True))

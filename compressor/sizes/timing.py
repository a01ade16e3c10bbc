"""Networks of a family timed beside each other, and no run of them for itself."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressor.bench.onnx_input import onnx_image_shape
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS, stopwatch
from compressor.bench.timer import (
    BenchSettings,
    Latency,
    compare,
    interleave,
    random_batch,
    timing_facts,
)
from compressor.context import Context
from compressor.pipeline import Given

DENSE = "dense"
"""Name of the dense network among those that are timed."""


def _time_nothing(context: Context, folder: Path) -> None:
    """What stands in for ``bench`` in runs that are timed together, or were before."""
    del context, folder


UNTIMED: Mapping[str, Given] = {"bench": Given(_time_nothing, "not timed")}
"""What is given to a run that is not to be timed for itself."""


def timed(files: Mapping[str, Path], settings: BenchSettings) -> dict[str, Any]:
    """Latency of ONNX files in ONNX Runtime, all interleaved.

    Args:
        files: By name; the one by the name ``DENSE`` is what the others are compared with.
        settings: How.

    Returns:
        ``latency`` of each with its ``speedup``, and the ``method``.
    """
    batch = random_batch(1, onnx_image_shape(files[DENSE]))
    clock = CLOCKS[settings.clock]
    watch = stopwatch(settings.clock, clock)
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name, path in files.items():
            runners[name] = OnnxRuntimeRunner(path, settings.num_threads)
            stack.callback(runners[name].close)
            runners[name].prepare(batch)
        samples = interleave(runners, settings, clock, watch)
    return {
        "latency": {
            name: {
                **Latency.of(samples_ms).to_json(),
                "speedup": asdict(compare(samples[DENSE], samples_ms)),
            }
            for name, samples_ms in samples.items()
        },
        "method": {"engine": "onnxruntime", "batch_size": 1, "clock": watch.facts()}
        | timing_facts(settings),
    }

"""A dense and a slim network timed side by side, on each engine and batch size."""

from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from typing import Any

from compressor.bench.engines import RUNNERS, Side
from compressor.bench.environment import environment
from compressor.bench.finite import finite_output
from compressor.bench.onnx_input import common_shape
from compressor.bench.stopwatch import CLOCKS, Stopwatch, stopwatch
from compressor.bench.timer import (
    BenchSettings,
    Latency,
    compare,
    interleave,
    random_batch,
    timing_facts,
)
from compressor.console import Console
from compressor.engines import CpuEngine


def bench_pair(
    dense: Side, slim: Side, settings: BenchSettings, console: Console
) -> dict[str, Any]:
    """Latency of both networks and how many times faster the slim one is, ready for JSON.

    Returns:
        ``dense`` and ``slim``: engine, then batch size (as text), then ``p50``, ``p90``, ``p99``,
        ``mean``, ``min`` in milliseconds, ``samples`` and ``p99_reliable``. ``speedup``: engine,
        batch size, then ``median``, ``low``, ``high``. ``environment`` and ``method`` say on what
        and how it was measured.

    Raises:
        ModelError: The two take images of different shapes, or a file cannot be run.
        CheckError: An output is not finite.
        MissingExtra: An engine is not installed.
    """
    common_shape({"The dense network": dense.image_shape, "the slim one": slim.image_shape})
    record: dict[str, Any] = {name: {} for name in ("dense", "slim", "speedup")}
    record |= {"environment": environment(), "method": method(settings)}
    cells = list(product(settings.engines, settings.batch_sizes))
    watch = stopwatch(settings.clock, CLOCKS[settings.clock])
    with console.track("bench", len(cells)) as advance:
        for engine, batch_size in cells:
            cell = bench_cell({"dense": dense, "slim": slim}, (engine, batch_size), settings, watch)
            for name, figures in cell.items():
                record[name].setdefault(engine, {})[str(batch_size)] = figures
            speedup = cell["speedup"]["median"]
            advance(f"{engine}, batch {batch_size}: {speedup:.2f} times as fast")
    record["method"]["clock_facts"] = watch.facts()
    return record


def bench_cell(
    sides: dict[str, Side], cell: tuple[CpuEngine, int], settings: BenchSettings, watch: Stopwatch
) -> dict[str, dict[str, Any]]:
    """Figures of both sides, and their ratio, on one engine with one batch size: the ``cell``."""
    engine, batch_size = cell
    image_shape = sides["dense"].image_shape
    batch = random_batch(batch_size, image_shape)
    with ExitStack() as stack:
        runners = {}
        for name, side in sides.items():
            runners[name] = RUNNERS[engine](side, settings.num_threads)
            stack.callback(runners[name].close)
            runners[name].prepare(batch)
        for name, runner in runners.items():
            finite_output(f"the {name} network ({engine})", runner)
        samples = interleave(runners, settings, CLOCKS[settings.clock], watch)
    figures = {name: Latency.of(samples_ms).to_json() for name, samples_ms in samples.items()}
    return {**figures, "speedup": asdict(compare(samples["dense"], samples["slim"]))}


def method(settings: BenchSettings) -> dict[str, Any]:
    """How the samples were taken, in words and numbers that two records can be compared by."""
    return {"clock": settings.clock, "device": "cpu", **timing_facts(settings)}

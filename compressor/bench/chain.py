"""The whole way from the dense network in PyTorch to each slim file, timed at once.

Ratios of different comparisons must not be multiplied: so all take turns in one process.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from compressor.bench.engines import Side
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.openvino_runner import OpenVinoRunner
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS, Stopwatch, stopwatch
from compressor.bench.timer import BenchSettings, Latency, compare, interleave, random_batch
from compressor.bench.torch_runner import TorchRunner
from compressor.console import Console
from compressor.file_profile import read_profile

REFERENCE = "dense, torch"

CPU_RUNNERS: Mapping[str, Callable[[Path, int], Runner]] = {
    "onnxruntime": OnnxRuntimeRunner,
    "openvino": OpenVinoRunner,
}
"""Engines whose files can be timed on a CPU, the default first."""


def bench_chain(
    dense: Side, slim: Side, files: Sequence[Path], settings: BenchSettings, console: Console
) -> dict[str, Any]:
    """Latency of the dense network in PyTorch, both float32 files, and ``files``, interleaved.

    Files that no engine of the CPU runs, TensorRT's say, are named in the record and not timed.

    Returns:
        ``reference``; ``unmeasured``: names of files; ``latency``: batch size (as text), then what
        was timed, then the figures of ``Latency`` and ``speedup`` over the reference; ``clock``:
        what the stopwatch says of itself, such as that real-time priority was refused.

    Raises:
        ModelError: A file cannot be run.
        MissingExtra: An engine is not installed.
    """
    threads = settings.num_threads
    makers: dict[str, Callable[[], Runner]] = {
        REFERENCE: lambda: TorchRunner(dense.module, threads),
        "dense, onnxruntime": lambda: OnnxRuntimeRunner(dense.onnx_path, threads),
        "slim, onnxruntime": lambda: OnnxRuntimeRunner(slim.onnx_path, threads),
    }
    unmeasured = []
    for path in files:
        profile = read_profile(path)
        engine = next((name for name in CPU_RUNNERS if name in profile.engines), None)
        if engine is None:
            unmeasured.append(path.name)
        else:
            makers[f"slim {profile.name}, {engine}"] = _maker(engine, path, threads)
    watch = stopwatch(settings.clock, CLOCKS[settings.clock])
    latency = {}
    with console.track("bench, the whole way", len(settings.batch_sizes)) as advance:
        for size in settings.batch_sizes:
            latency[str(size)] = _cell(
                makers, random_batch(size, dense.image_shape), settings, watch
            )
            advance(f"batch {size}: {len(makers)} timed")
    return {
        "reference": REFERENCE,
        "unmeasured": unmeasured,
        "latency": latency,
        "clock": watch.facts(),
    }


def _maker(engine: str, path: Path, num_threads: int) -> Callable[[], Runner]:
    return lambda: CPU_RUNNERS[engine](path, num_threads)


def _cell(
    makers: Mapping[str, Callable[[], Runner]],
    batch: Tensor,
    settings: BenchSettings,
    watch: Stopwatch,
) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        runners = {}
        for name, make in makers.items():
            runners[name] = make()
            stack.callback(runners[name].close)
            runners[name].prepare(batch)
        samples = interleave(runners, settings, CLOCKS[settings.clock], watch)
    return {
        name: {
            **Latency.of(samples_ms).to_json(),
            "speedup": asdict(compare(samples[REFERENCE], samples_ms)),
        }
        for name, samples_ms in samples.items()
    }

"""The whole way from the dense network in PyTorch to each slim file, timed at once.

Ratios of different comparisons must not be multiplied: so all take turns in one process.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.bench.engines import RUNNERS, Side
from compressor.bench.finite import finite_output
from compressor.bench.openvino_runner import computes_bf16, hint_of
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS, Stopwatch, stopwatch
from compressor.bench.subjects import FILE_ENGINES, Subject
from compressor.bench.timer import BenchSettings, Latency, compare, interleave, random_batch
from compressor.console import Console
from compressor.engines import ENGINES
from compressor.file_profile import read_profile

REFERENCE = "dense, torch"


def bench_chain(
    dense: Side,
    slim: Side,
    files: Sequence[Path | Subject],
    settings: BenchSettings,
    console: Console,
) -> dict[str, Any]:
    """Latency of the dense network in PyTorch, both float32 files, and ``files``, interleaved.

    What no engine of this machine runs is named in the record, and not timed.

    Args:
        dense: The dense network.
        slim: The slim one.
        files: Those of the slim network in other precisions. A path alone is that of an ONNX file,
            and runs on the first engine of the list that its own note names; a subject, such as a
            plan, on its engine and under its name.
        settings: Batch sizes, rounds, threads, clock.
        console: Told what is being done, and what is not timed.

    Returns:
        ``reference``; ``unmeasured``: name of a file, then why it was not timed; ``latency``: batch
        size (as text), then what was timed, then the figures of ``Latency`` and ``speedup`` over
        the reference; ``clock``: what the stopwatch says of itself, such as that real-time priority
        was refused.

    Raises:
        ModelError: A file cannot be run.
        CheckError: An output is not finite.
        MissingExtra: An engine is not installed.
    """
    threads = settings.num_threads
    makers: dict[str, Callable[[], Runner]] = {
        REFERENCE: lambda: RUNNERS["torch"](dense, threads),
        "dense, onnxruntime": lambda: RUNNERS["onnxruntime"](dense, threads),
        "slim, onnxruntime": lambda: RUNNERS["onnxruntime"](slim, threads),
    }
    unmeasured: dict[str, str] = {}
    for file in files:
        subject = file if isinstance(file, Subject) else subject_of(file)
        if why := why_not_timed(subject, settings):
            console.say(f"bench: {subject.path.name} is not timed: {why}")
            unmeasured[subject.path.name] = why
        else:
            makers[subject.name] = _maker(subject, threads)
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


def subject_of(path: Path) -> Subject:
    """The ONNX file at ``path`` on the first engine that its note names; any runs one without."""
    profile = read_profile(path)
    engine = next(name for name in ENGINES if name in profile.engines or not profile.engines)
    return Subject(f"slim {profile.name}, {engine}", engine, path)


def why_not_timed(subject: Subject, settings: BenchSettings) -> str | None:
    """Why ``subject`` cannot be timed here beside networks on the CPU; None if it can."""
    engine = ENGINES[subject.engine]
    if engine.runs == "plan" and subject.path.suffix == ".onnx":
        return f"{subject.engine} runs plans, and none was built of it"
    if engine.device == "cuda" and not torch.cuda.is_available():
        return f"{subject.engine} needs a CUDA device, and this machine has none"
    if engine.device == "cuda" and settings.clock == "process":
        return "the clock process counts the CPU's time alone"
    if engine.name == "openvino" and hint_of(subject.path) == "bf16" and not computes_bf16():
        return "this processor has no bfloat16"
    return None


def _maker(subject: Subject, num_threads: int) -> Callable[[], Runner]:
    return lambda: FILE_ENGINES[subject.engine].open(subject.path, num_threads)


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
        for name, runner in runners.items():
            finite_output(name, runner)
        samples = interleave(runners, settings, CLOCKS[settings.clock], watch)
    return {
        name: {
            **Latency.of(samples_ms).to_json(),
            "speedup": asdict(compare(samples[REFERENCE], samples_ms)),
        }
        for name, samples_ms in samples.items()
    }

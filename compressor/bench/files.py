"""Files on engines timed against the first of them, all interleaved in one process."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from pydantic import Field
from torch import Tensor

from compressor.bench.computed import computed
from compressor.bench.environment import environment, version
from compressor.bench.finite import finite_output
from compressor.bench.gauged_stopwatch import GaugedStopwatch
from compressor.bench.gpu_files import (
    Timed,
    check_clock,
    check_cuda_graph,
    gauged,
    gpu_record,
    on_gpu,
    transfers,
    ways_of,
)
from compressor.bench.launches import TellsFacts
from compressor.bench.names import CudaGraph
from compressor.bench.onnx_input import common_shape
from compressor.bench.runner import Runner
from compressor.bench.statistics import figures, transfer_figures
from compressor.bench.stopwatch import CLOCKS, Stopwatch, stopwatch
from compressor.bench.subjects import Subject
from compressor.bench.timer import (
    TimingSettings,
    compare,
    interleave,
    random_batch,
    timing_facts,
)
from compressor.bench.trtexec import comparable, gpu_facts
from compressor.console import Console
from compressor.files import sha256
from compressor.tensorrt.cuda import TorchCuda


class FilesSettings(TimingSettings):
    """How files are timed."""

    batch_size: int = Field(default=1, ge=1)
    """Images in one run."""

    cuda_graph: CudaGraph = "on"
    """How runs are launched on a GPU: ``on`` from a CUDA graph where one can be captured, ``off``
    kernel by kernel, ``both`` as two subjects of the comparison."""


def bench_files(
    subjects: Sequence[Subject], settings: FilesSettings, console: Console
) -> dict[str, Any]:
    """Latency of each subject and how many times faster than the first it is, ready for JSON.

    Args:
        subjects: At least one; the first is the reference.
        settings: Batch size, rounds, threads, clock, CUDA graph.
        console: Told what is being done.

    Returns:
        ``reference``: name of the first. ``subjects``: for each ``name``, ``engine``, ``file``,
        ``sha256``, ``bytes``, ``output_shape``, ``precision`` (``computed.Computed``: the file's
        own and what it is computed in), ``runner`` (what it says of its runs, such as ``asked``,
        ``launched`` and ``fallback``), what ``statistics.figures`` gives, ``speedup``
        (``median``, ``low``, ``high``; above 1 it is faster than the reference), ``transfers_ms``
        (``statistics.transfer_figures``; ``None`` unless the clock is the GPU's) and ``trtexec``
        (``trtexec.comparable``). ``gpu``: the device, its clocks and throttling
        (``gpu_files.gpu_record``); ``None`` if no file runs on a GPU. ``method`` and
        ``environment`` say how and on what it was measured.

    Raises:
        ModelError: A file cannot be run, is no network for images, or takes other images than the
            first; the clock does not show what runs; or a way of launching is asked of the CPU.
        CheckError: An output is not finite, or the clock is too coarse.
        MissingExtra: An engine is not installed.
    """
    check_clock(subjects, settings.clock)
    check_cuda_graph(subjects, settings.cuda_graph)
    shape = common_shape({s.name: s.runs_on.image_shape(s.path) for s in subjects})
    batch = random_batch(settings.batch_size, shape)
    clock = CLOCKS[settings.clock]
    cuda = TorchCuda()
    watch, why_not = gauged(stopwatch(settings.clock, clock), subjects, cuda)
    timed = ways_of(subjects, settings.cuda_graph)
    with ExitStack() as stack:
        if isinstance(watch, GaugedStopwatch):
            stack.callback(watch.close)
        runners: dict[str, Runner] = {}
        for way in timed:
            console.say(f"bench: opening {way.name}")
            runners[way.name] = runner = way.open(settings.num_threads)
            stack.callback(runner.close)
            runner.prepare(batch)
        outputs = {way.name: finite_output(way.name, runners[way.name]) for way in timed}
        console.say(f"bench: {settings.rounds} rounds of {len(timed)}, one beside the other")
        samples = interleave(runners, settings, clock, watch)
        gpu = gpu_record(watch, why_not, cuda)
        copies = transfers(runners, settings)
        reference = samples[timed[0].name]
        rows = [
            {
                **row(way, outputs[way.name], runners[way.name], settings.clock),
                **figures(samples[way.name], settings.batch_size, settings.clock),
                "speedup": asdict(compare(reference, samples[way.name])),
                "transfers_ms": transfer_figures(
                    {name: of[way.name] for name, of in copies.items()}, samples[way.name]
                ),
            }
            for way in timed
        ]
    return {
        "reference": timed[0].name,
        "subjects": rows,
        "gpu": gpu,
        "method": method(subjects, settings, watch),
        "environment": environment(),
    }


def row(way: Timed, output: Tensor, runner: Runner, clock: str) -> dict[str, Any]:
    """What the record says of one subject besides its times."""
    subject = way.subject
    told = runner.facts() if isinstance(runner, TellsFacts) else {}
    return {
        "name": way.name,
        "engine": subject.engine,
        "file": str(subject.path),
        "sha256": sha256(subject.path),
        "bytes": subject.path.stat().st_size,
        "output_shape": list(output.shape),
        "precision": asdict(computed(subject)),
        "runner": told,
        "trtexec": comparable(subject.engine, clock, told),
    }


def method(
    subjects: Sequence[Subject], settings: FilesSettings, watch: Stopwatch
) -> dict[str, Any]:
    """How the samples were taken, so that two records, or one and trtexec's, can be compared."""
    engines = {subject.engine: subject.runs_on for subject in subjects}
    return {
        "clock": watch.facts(),
        "engines": {
            name: {
                "version": version(engine.package),
                **engine.facts,
                **(gpu_facts(settings.clock) if engine.facts["device"] == "cuda" else {}),
            }
            for name, engine in engines.items()
        },
        "batch_size": settings.batch_size,
        **timing_facts(settings),
        "mode": "single-stream-like: the next run starts when the last has ended",
        "queue_depth": 1,
        "cuda_graph": settings.cuda_graph if any(map(on_gpu, subjects)) else None,
    }

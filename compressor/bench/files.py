"""Files on engines timed against the first of them, all interleaved in one process."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from compressor.bench.environment import environment, version
from compressor.bench.onnx_input import ImageShape
from compressor.bench.runner import Runner
from compressor.bench.statistics import figures
from compressor.bench.stopwatch import CLOCKS, Stopwatch, stopwatch
from compressor.bench.subjects import Subject
from compressor.bench.timer import (
    TimingSettings,
    compare,
    interleave,
    random_batch,
    timing_facts,
)
from compressor.console import Console
from compressor.errors import CheckError, ModelError
from compressor.files import sha256


class FilesSettings(TimingSettings):
    """How files are timed."""

    batch_size: int = Field(default=1, ge=1)
    """Images in one run."""


@runtime_checkable
class TellsFacts(Protocol):
    """A runner that may run a file in more than one way, and says in which it did."""

    def facts(self) -> dict[str, Any]:
        """How runs were made since the last ``prepare``; plain JSON."""
        ...


def bench_files(
    subjects: Sequence[Subject], settings: FilesSettings, console: Console
) -> dict[str, Any]:
    """Latency of each subject and how many times faster than the first it is, ready for JSON.

    Args:
        subjects: At least one; the first is the reference.
        settings: Batch size, rounds, threads, clock.
        console: Told what is being done.

    Returns:
        ``reference``: name of the first. ``subjects``: for each ``name``, ``engine``, ``file``,
        ``sha256``, ``bytes``, ``output_shape``, ``runner`` (what it says of its runs, such as
        ``launched`` and ``fallback``), what ``statistics.figures`` gives, and ``speedup``
        (``median``, ``low``, ``high``; above 1 it is faster than the reference).
        ``method`` and ``environment`` say how and on what it was measured.

    Raises:
        ModelError: A file cannot be run, is no network for images, or takes other images than the
            first; or the clock is that of the CPU for a file that runs on a GPU.
        CheckError: An output is not finite, or the clock is too coarse.
        MissingExtra: An engine is not installed.
    """
    check_clock(subjects, settings)
    shape = common_shape(subjects)
    batch = random_batch(settings.batch_size, shape)
    watch = stopwatch(settings.clock, CLOCKS[settings.clock])
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for subject in subjects:
            console.say(f"bench: opening {subject.name}")
            runner = subject.runs_on.open(subject.path, settings.num_threads)
            stack.callback(runner.close)
            runner.prepare(batch)
            runners[subject.name] = runner
        outputs = {s.name: finite_output(s, runners[s.name]) for s in subjects}
        console.say(f"bench: {settings.rounds} rounds of {len(subjects)}, one beside the other")
        samples = interleave(runners, settings, CLOCKS[settings.clock], watch)
        timed = [
            {
                **row(subject, outputs[subject.name], runners[subject.name]),
                **figures(samples[subject.name], settings.batch_size),
                "speedup": asdict(compare(samples[subjects[0].name], samples[subject.name])),
            }
            for subject in subjects
        ]
    return {
        "reference": subjects[0].name,
        "subjects": timed,
        "method": method(subjects, settings, watch),
        "environment": environment(),
    }


def check_clock(subjects: Sequence[Subject], settings: FilesSettings) -> None:
    """Refuse to time a GPU by the CPU's clock, which shows how long the CPU waits in its way.

    Raises:
        ModelError: Names the first file that runs on a GPU.
    """
    on_gpu = [s.name for s in subjects if s.runs_on.facts["device"] == "cuda"]
    if settings.clock == "process" and on_gpu:
        raise ModelError(
            f"{on_gpu[0]} runs on a GPU, and the clock process counts the CPU's time alone. "
            "Use the clock wall."
        )


def common_shape(subjects: Sequence[Subject]) -> ImageShape:
    """Shape of the images that all subjects take.

    Raises:
        ModelError: They do not take the same.
    """
    shapes = {subject.name: subject.runs_on.image_shape(subject.path) for subject in subjects}
    first, wanted = next(iter(shapes.items()))
    for name, shape in shapes.items():
        if shape != wanted:
            raise ModelError(
                f"{first} takes images of {list(wanted)}, {name} of {list(shape)}. "
                "Compare networks for the same images."
            )
    return wanted


def finite_output(subject: Subject, runner: Runner) -> Tensor:
    """What the prepared runner gives; times of a network that computes nothing say nothing.

    Raises:
        CheckError: It holds NaN or infinity.
    """
    output = runner.run()
    if not torch.isfinite(output).all():
        share = 1 - torch.isfinite(output).double().mean().item()
        raise CheckError(
            f"{subject.name}: {share:.1%} of its outputs for a normal random batch are NaN or "
            "infinite. Do not use this file; check its precision and export it again."
        )
    return output


def row(subject: Subject, output: Tensor, runner: Runner) -> dict[str, Any]:
    """What the record says of one subject besides its times."""
    return {
        "name": subject.name,
        "engine": subject.engine,
        "file": str(subject.path),
        "sha256": sha256(subject.path),
        "bytes": subject.path.stat().st_size,
        "output_shape": list(output.shape),
        "runner": runner.facts() if isinstance(runner, TellsFacts) else {},
    }


def method(
    subjects: Sequence[Subject], settings: FilesSettings, watch: Stopwatch
) -> dict[str, Any]:
    """How the samples were taken, so that two records, or one and trtexec's, can be compared."""
    engines = {subject.engine: subject.runs_on for subject in subjects}
    return {
        "clock": watch.facts(),
        "engines": {
            name: {"version": version(engine.package), **engine.facts}
            for name, engine in engines.items()
        },
        "batch_size": settings.batch_size,
        **timing_facts(settings),
        "mode": "single-stream-like: the next run starts when the last has ended",
        "queue_depth": 1,
        "gpu": "unmeasured: no CUDA events, no clocks or throttling from NVML",
    }

"""What timing files on a GPU has besides: ways of launching, transfers apart, the GPU's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressor.bench.cuda_stopwatch import CUDA_EVENTS, CudaStopwatch, copy_in, copy_out
from compressor.bench.gauged_stopwatch import GaugedStopwatch, unavailable
from compressor.bench.launches import ChoosesLaunch
from compressor.bench.names import CudaGraph
from compressor.bench.nvml import open_gauge
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS, Stopwatch
from compressor.bench.subjects import Subject
from compressor.bench.timer import TimingSettings, interleave
from compressor.errors import ModelError
from compressor.tensorrt.cuda import Cuda
from compressor.tensorrt.runner import Launch

WAYS: dict[CudaGraph, tuple[Launch, ...]] = {
    "on": ("graph",),
    "off": ("stream",),
    "both": ("graph", "stream"),
}
"""Setting -> ways of launching that are timed, the first of them first."""


@dataclass(frozen=True)
class Timed:
    """A subject in one way of launching.

    Attributes:
        name: What tables and records call it.
        subject: The file and its engine.
        launch: How its runs are to be launched; ``None`` on a CPU.
    """

    name: str
    subject: Subject
    launch: Launch | None

    def open(self, num_threads: int) -> Runner:
        """A runner that launches in this way; the caller closes it."""
        runner = self.subject.runs_on.open(self.subject.path, num_threads)
        if self.launch is not None and isinstance(runner, ChoosesLaunch):
            runner.launch_by(self.launch)
        return runner


def on_gpu(subject: Subject) -> bool:
    """Whether a subject's engine runs on a GPU."""
    return subject.runs_on.facts["device"] == "cuda"


def ways_of(subjects: Sequence[Subject], cuda_graph: CudaGraph) -> list[Timed]:
    """Every subject once, those on a GPU once for each way of launching that is asked for."""
    timed: list[Timed] = []
    for subject in subjects:
        ways = WAYS[cuda_graph] if on_gpu(subject) else (None,)
        for way in ways:
            name = subject.name if len(ways) == 1 else f"{subject.name} ({way})"
            timed.append(Timed(name, subject, way))
    return timed


def check_clock(subjects: Sequence[Subject], clock: str) -> None:
    """Refuse a clock that does not show what runs.

    Raises:
        ModelError: Names the first file that the clock is not for.
    """
    gpu = [subject.name for subject in subjects if on_gpu(subject)]
    cpu = [subject.name for subject in subjects if not on_gpu(subject)]
    if clock == "process" and gpu:
        raise ModelError(
            f"{gpu[0]} runs on a GPU, and the clock process counts the CPU's time alone. "
            "Use the clock wall."
        )
    if clock == CUDA_EVENTS and cpu:
        raise ModelError(
            f"{cpu[0]} runs on the CPU, and the clock {CUDA_EVENTS} is a GPU's: two clocks do not "
            "go into one comparison. Use the clock wall, or files on a GPU alone."
        )


def check_cuda_graph(subjects: Sequence[Subject], cuda_graph: CudaGraph) -> None:
    """Refuse a way of launching where nothing is launched.

    Raises:
        ModelError: It is asked for, and all files run on the CPU.
    """
    if cuda_graph != "on" and not any(map(on_gpu, subjects)):
        raise ModelError(
            f"--cuda-graph {cuda_graph} is for files on a GPU, and {subjects[0].name} runs on the "
            "CPU as all files here. Leave it out, or give a plan."
        )


def gauged(
    watch: Stopwatch, subjects: Sequence[Subject], cuda: Cuda
) -> tuple[Stopwatch, str | None]:
    """The stopwatch with a look at the GPU's state between rounds, where a file runs on one.

    Returns:
        The stopwatch; and, where a file runs on a GPU whose state cannot be read, why not.
    """
    # Without a device no plan can be opened, which is said then in the engine's own words.
    if not any(map(on_gpu, subjects)) or not cuda.is_available():
        return watch, None
    gauge, why_not = open_gauge(cuda)
    if gauge is None:
        return watch, str(why_not)
    return GaugedStopwatch(watch, gauge, CLOCKS[CUDA_EVENTS]), None


def gpu_record(watch: Stopwatch, why_not: str | None, cuda: Cuda) -> dict[str, Any] | None:
    """``device`` and its state over the rounds, ready for JSON; ``None`` if no file runs on one.

    Args:
        watch: Of ``gauged``, after the last round.
        why_not: Of ``gauged``.
        cuda: Says what the device is.
    """
    if isinstance(watch, GaugedStopwatch):
        state = watch.report()
    elif why_not is not None:
        state = unavailable(why_not)
    else:
        return None
    return {"device": cuda.gpu().model_dump(mode="json"), **state}


def transfers(
    runners: Mapping[str, Runner], settings: TimingSettings
) -> dict[str, dict[str, list[float]]]:
    """Times of both directions in milliseconds, ``h2d`` and ``d2h`` -> runner -> samples.

    Taken in rounds of their own after those of the runs, so that no copy stands beside a timed run.
    Empty for clocks that are not the GPU's.
    """
    if settings.clock != CUDA_EVENTS:
        return {}
    clock = CLOCKS[CUDA_EVENTS]
    directions = {"h2d": CudaStopwatch(copy_in), "d2h": CudaStopwatch(copy_out)}
    return {name: interleave(runners, settings, clock, watch) for name, watch in directions.items()}

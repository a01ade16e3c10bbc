"""A GPU's own clock: CUDA events before and after what a runner launches on its stream.

Written against ``torch.cuda`` by its documented names and tested over fakes; unmeasured, since no
GPU was at hand.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from compressor.bench.launches import Launches
from compressor.bench.runner import Runner
from compressor.errors import ModelError
from compressor.tensorrt.cuda import Event

CUDA_EVENTS = "cuda-events"
"""Name of the clock in the settings."""

Work = Callable[[Launches], None]
"""Launches what is timed, on the runner's stream."""


def compute(runner: Launches) -> None:
    """One run, what NVIDIA calls GPU compute time."""
    runner.launch()


def copy_in(runner: Launches) -> None:
    """The batch from page-locked memory to the GPU."""
    runner.copy_in()


def copy_out(runner: Launches) -> None:
    """All outputs from the GPU to page-locked memory."""
    runner.copy_out()


class CudaStopwatch:
    """Time between two events on the runner's own stream, with one thing launched between them.

    Queue depth is 1: the stream is empty when the first event is recorded. Where launching takes
    the CPU longer than the kernels take the GPU, the wait for the CPU is in the time.

    Args:
        work: What is launched between the events.
    """

    name = CUDA_EVENTS

    def __init__(self, work: Work = compute) -> None:
        self._work = work
        self._events: dict[int, tuple[Launches, Event, Event]] = {}

    def time_ms(self, runner: Runner) -> float:
        """Milliseconds on the GPU of what was launched once.

        Raises:
            ModelError: The runner launches nothing on a stream.
        """
        launches, start, end = self._events_of(runner)
        start.record(launches.stream)
        self._work(launches)
        end.record(launches.stream)
        end.synchronize()
        return start.elapsed_time(end)

    def _events_of(self, runner: Runner) -> tuple[Launches, Event, Event]:
        """The runner's two events, made once: making one takes time that would be measured."""
        key = id(runner)
        if key not in self._events:
            launches = on_stream(runner)
            start, end = launches.new_event(), launches.new_event()
            # CUDA makes an event when it is first recorded; what copies need is made here as well.
            start.record(launches.stream)
            self._work(launches)
            end.record(launches.stream)
            end.synchronize()
            self._events[key] = launches, start, end  # holds the runner, so no id comes back
        return self._events[key]

    def round(self) -> AbstractContextManager[None]:
        """Nothing is held."""
        return contextlib.nullcontext()

    def facts(self) -> dict[str, Any]:
        """What the clock shows."""
        return {
            "name": self.name,
            "says": "time on the GPU between two events on the runner's own stream, one launch "
            "between them; no transfers",
        }


def on_stream(runner: Runner) -> Launches:
    """The runner as one that launches on a stream.

    Raises:
        ModelError: It is none.
    """
    if not isinstance(runner, Launches):
        raise ModelError(
            f"{runner.engine} launches nothing on a stream of a GPU, so CUDA events show nothing "
            "of it. Use the clock wall, or time files for tensorrt or tensorrt-rtx alone."
        )
    return runner

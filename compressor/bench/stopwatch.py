"""Clocks by name: how one run is timed, and what is held for the length of a round."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from compressor.bench.cuda_stopwatch import CUDA_EVENTS, CudaStopwatch
from compressor.bench.runner import Runner

Clock = Callable[[], float]
"""Seconds since some fixed moment."""

MS_PER_SECOND = 1000.0
TASKS = Path("/proc/self/task")
PRIORITY = 1
"""Lowest of the real-time priorities: above every ordinary program, below the system's own."""


class Stopwatch(Protocol):
    """Times one run."""

    name: str
    """As in the settings."""

    def time_ms(self, runner: Runner) -> float:
        """Milliseconds of one run of what is prepared.

        Raises:
            ModelError: The runner is not of a kind that this clock shows.
        """
        ...

    def round(self) -> AbstractContextManager[None]:
        """What surrounds one round of timed runs, after the warm-up."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the record must say of the clock once all rounds are over; plain JSON."""
        ...


class ClockStopwatch:
    """Reads a clock before and after."""

    def __init__(self, name: str, clock: Clock, says: str) -> None:
        self.name, self._clock, self._says = name, clock, says

    def time_ms(self, runner: Runner) -> float:
        """Milliseconds of one run."""
        started = self._clock()
        runner.run()
        return (self._clock() - started) * MS_PER_SECOND

    def round(self) -> AbstractContextManager[None]:
        """Nothing is held."""
        return contextlib.nullcontext()

    def facts(self) -> dict[str, Any]:
        """What the clock shows."""
        return {"name": self.name, "says": self._says}


class Scheduler(Protocol):
    """What is asked of the system: the threads of this process and their priorities."""

    def threads(self) -> list[int]:
        """All threads of this process."""
        ...

    def hold(self, thread: int) -> tuple[int, int]:
        """Give a thread real-time priority; what it had: policy, priority.

        Raises:
            PermissionError: This process may not.
            ProcessLookupError: The thread has ended.
        """
        ...

    def restore(self, thread: int, policy: int, priority: int) -> None:
        """Put a thread back; one that has ended raises ``ProcessLookupError``."""
        ...


class LinuxScheduler:
    """The scheduler of Linux: first in, first out."""

    def threads(self) -> list[int]:
        """All threads of this process."""
        return sorted(int(entry.name) for entry in TASKS.iterdir())

    def hold(self, thread: int) -> tuple[int, int]:
        """Give a thread real-time priority; what it had: policy, priority."""
        before = os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(PRIORITY))
        return before

    def restore(self, thread: int, policy: int, priority: int) -> None:
        """Put a thread back."""
        os.sched_setscheduler(thread, policy, os.sched_param(priority))


class RealtimeStopwatch:
    """Wall clock while no ordinary program can take the CPU; where the system forbids it, says so.

    All threads of the process hold the priority for one round at a time, so that other programs
    get their turn between rounds.
    """

    name = "realtime"

    def __init__(self, clock: Clock, scheduler: Scheduler | None) -> None:
        self._clock, self._scheduler = clock, scheduler
        self._refusal = None if scheduler else "this system has no SCHED_FIFO"
        self._rounds_held = 0

    def time_ms(self, runner: Runner) -> float:
        """Milliseconds of one run."""
        started = self._clock()
        runner.run()
        return (self._clock() - started) * MS_PER_SECOND

    @contextlib.contextmanager
    def round(self) -> Iterator[None]:
        """Real-time priority on every thread inside the block, undone whatever happens in it."""
        if self._scheduler is None or self._refusal is not None:
            yield
            return
        before: dict[int, tuple[int, int]] = {}
        try:
            self._hold_all(self._scheduler, before)
            yield
        finally:
            self._restore_all(self._scheduler, before)

    def _hold_all(self, scheduler: Scheduler, before: dict[int, tuple[int, int]]) -> None:
        try:
            for thread in scheduler.threads():
                with contextlib.suppress(ProcessLookupError):  # it ended since it was listed
                    before[thread] = scheduler.hold(thread)
        except PermissionError as refused:
            self._refusal = (refused.strerror or "not permitted").lower()
            self._restore_all(scheduler, before)
            before.clear()
        else:
            self._rounds_held += 1

    @staticmethod
    def _restore_all(scheduler: Scheduler, before: dict[int, tuple[int, int]]) -> None:
        # A thread that was born inside the block inherited the priority of its maker.
        inherited = next(iter(before.values()), None)
        if inherited is None:
            return
        for thread in {*before, *scheduler.threads()}:
            with contextlib.suppress(ProcessLookupError):
                scheduler.restore(thread, *before.get(thread, inherited))

    def facts(self) -> dict[str, Any]:
        """Whether the priority was granted, for how many rounds, and if not why."""
        says = "wall time"
        if self._rounds_held:
            says += ", every thread under SCHED_FIFO for the length of a round"
        return {
            "name": self.name,
            "says": says,
            "realtime_granted": self._refusal is None and self._rounds_held > 0,
            "realtime_refused_because": self._refusal,
            "rounds_under_realtime": self._rounds_held,
        }


CLOCKS: dict[str, Clock] = {
    "wall": time.perf_counter,
    "process": time.process_time,
    "realtime": time.perf_counter,
    CUDA_EVENTS: time.perf_counter,
}
"""What each clock of the settings reads; time limits go by it too, with CUDA events they alone."""

SAYS = {
    "wall": "time that passes, other programs' share included",
    "process": "time on the CPU of all threads of this process",
}


def stopwatch(name: str, clock: Clock) -> Stopwatch:
    """The stopwatch of that name in `CLOCKS`, reading ``clock``."""
    if name == CUDA_EVENTS:
        return CudaStopwatch()
    if name == "realtime":
        scheduler = LinuxScheduler() if hasattr(os, "sched_setscheduler") else None
        return RealtimeStopwatch(clock, scheduler)
    return ClockStopwatch(name, clock, SAYS[name])

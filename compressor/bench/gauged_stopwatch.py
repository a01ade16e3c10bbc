"""A stopwatch beside which a GPU's clocks and throttling are looked at."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from compressor.bench.launches import Launches
from compressor.bench.nvml import Gauge, State
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import Clock, Stopwatch

READ_EVERY_SECONDS = 0.1
"""NVML's own figures are hardly renewed more often."""

BUSY_MS = 20.0
"""Length of the runs in flight during a look: NVML answers within a few milliseconds."""

MAX_LAUNCHES = 500
"""In flight at once; CUDA makes the CPU wait when some thousand are."""


class GaugedStopwatch:
    """A stopwatch beside which the GPU's state is read between rounds.

    A GPU that stands still has neither the clocks nor the limits of one at work, so looks between
    rounds are taken while untimed runs are in flight; the first and the last with none.

    Args:
        watch: Times the runs.
        gauge: Reads the state.
        clock: Says when the next look is due.
    """

    def __init__(self, watch: Stopwatch, gauge: Gauge, clock: Clock) -> None:
        self.name = watch.name
        self._watch, self._gauge, self._clock = watch, gauge, clock
        self._states: list[State] = []
        self._read_at = 0.0
        self._last: tuple[Launches, float] | None = None

    def time_ms(self, runner: Runner) -> float:
        """Milliseconds of one run."""
        ms = self._watch.time_ms(runner)
        if isinstance(runner, Launches):
            self._last = runner, ms
        return ms

    @contextmanager
    def round(self) -> Iterator[None]:
        """What the other stopwatch holds; before the first round and after some, a look."""
        if not self._states:
            self._read()
        with self._watch.round():
            yield
        if self._clock() - self._read_at >= READ_EVERY_SECONDS:
            self._read_at_work()

    def _read_at_work(self) -> None:
        if self._last is None:
            self._read()
            return
        runner, ms = self._last
        for _ in range(num_launches(ms)):
            runner.launch()
        self._read()
        runner.stream.synchronize()

    def _read(self) -> None:
        self._states.append(self._gauge.read())
        self._read_at = self._clock()

    def close(self) -> None:
        """Give the gauge back."""
        self._gauge.close()

    def facts(self) -> dict[str, Any]:
        """What the other stopwatch says."""
        return self._watch.facts()

    def report(self) -> dict[str, Any]:
        """What was seen from the end of the warm-up until now, ready for JSON; one more look.

        Returns:
            ``before``, ``after``: states without a run in flight; ``worst`` of all looks, those at
            work between them. ``throttled``: reasons that held the clocks
            down at some look; ``None`` if NVML never said. ``looks``: how many. ``refused``: figure
            -> why NVML did not give it. ``unavailable`` is ``None``.
        """
        self._read()
        worst = worst_of(self._states)
        return {
            "unavailable": None,
            "before": self._states[0].to_json(),
            "after": self._states[-1].to_json(),
            "worst": worst.to_json(),
            "throttled": None if worst.reasons is None else list(worst.throttling),
            "looks": len(self._states),
            "refused": dict(self._gauge.refused),
        }


def num_launches(ms: float) -> int:
    """How many runs of ``ms`` milliseconds, >= 0, keep a GPU at work for a look."""
    return MAX_LAUNCHES if ms * MAX_LAUNCHES <= BUSY_MS else math.ceil(BUSY_MS / ms)


def worst_of(states: Sequence[State]) -> State:
    """Lowest clocks, highest temperature and power, all reasons that were given."""
    told = [state.reasons for state in states if state.reasons is not None]
    return State(
        sm_mhz=_extreme(min, [state.sm_mhz for state in states]),
        memory_mhz=_extreme(min, [state.memory_mhz for state in states]),
        temperature_c=_extreme(max, [state.temperature_c for state in states]),
        power_w=_extreme(max, [state.power_w for state in states]),
        reasons=tuple(dict.fromkeys(reason for some in told for reason in some)) if told else None,
    )


def _extreme(pick: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None


def unavailable(why: str) -> dict[str, Any]:
    """The same record where nothing could be read."""
    nothing: Mapping[str, Any] = dict.fromkeys(("before", "after", "worst", "throttled"))
    return {"unavailable": why, **nothing, "looks": 0, "refused": {}}

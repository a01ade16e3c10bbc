import contextlib
import errno
import os
import time
from typing import get_args

import pytest

from compressor.bench.command import OPTIONS
from compressor.bench.gpu_files import WAYS
from compressor.bench.names import ClockName
from compressor.bench.pair import bench_pair
from compressor.bench.stopwatch import (
    CLOCKS,
    ClockStopwatch,
    LinuxScheduler,
    RealtimeStopwatch,
    stopwatch,
)
from compressor.bench.timer import BenchSettings, interleave
from compressor.console import Console

FEW = BenchSettings(
    rounds=2,
    settling_runs=1,
    warmup_rounds=1,
    warmup_seconds=0,
    batch_sizes=(1,),
    engines=("torch",),
)
ORDINARY, REALTIME = (0, 0), (1, 1)


class FakeScheduler:
    """Threads 1, 2 and 3; ``refuses`` and ``ended`` name those that cannot be held."""

    def __init__(self, refuses=(), ended=()):
        self.policies = {1: ORDINARY, 2: (3, 0), 3: ORDINARY}
        self._refuses, self._ended = refuses, ended

    def threads(self):
        return sorted(self.policies)

    def hold(self, thread):
        if thread in self._refuses:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        if thread in self._ended:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        before, self.policies[thread] = self.policies[thread], REALTIME
        return before

    def restore(self, thread, policy, priority):
        if thread in self._ended:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self.policies[thread] = policy, priority


def test_a_run_takes_as_long_as_its_clock_says(clock, fake):
    runner = fake("net", 12.5)

    assert ClockStopwatch("wall", clock, "time").time_ms(runner) == pytest.approx(12.5)
    assert RealtimeStopwatch(clock, None).time_ms(runner) == pytest.approx(12.5)


def test_every_thread_has_the_priority_inside_a_round_and_its_own_afterwards(clock):
    scheduler = FakeScheduler()
    before = dict(scheduler.policies)
    watch = RealtimeStopwatch(clock, scheduler)

    with watch.round():
        assert set(scheduler.policies.values()) == {REALTIME}

    assert scheduler.policies == before
    assert watch.facts()["realtime_granted"] is True
    assert watch.facts()["rounds_under_realtime"] == 1


def test_the_priority_is_undone_when_the_round_fails(clock):
    scheduler = FakeScheduler()
    before = dict(scheduler.policies)

    with pytest.raises(RuntimeError, match="broke"), RealtimeStopwatch(clock, scheduler).round():
        raise RuntimeError("the engine broke")

    assert scheduler.policies == before


def test_a_thread_born_inside_a_round_does_not_keep_the_priority(clock):
    scheduler = FakeScheduler()

    with RealtimeStopwatch(clock, scheduler).round():
        scheduler.policies[9] = REALTIME

    assert scheduler.policies[9] == ORDINARY


@pytest.mark.parametrize("thread", [1, 2, 3])
def test_a_thread_that_ends_meanwhile_does_not_matter(clock, thread):
    scheduler = FakeScheduler(ended=(thread,))
    before = dict(scheduler.policies)
    watch = RealtimeStopwatch(clock, scheduler)

    with watch.round():
        pass

    assert scheduler.policies == before
    assert watch.facts()["realtime_granted"] is True


@pytest.mark.parametrize("thread", [1, 3])
def test_a_refusal_is_recorded_with_its_reason_and_leaves_no_thread_behind(clock, thread):
    scheduler = FakeScheduler(refuses=(thread,))
    before = dict(scheduler.policies)
    watch = RealtimeStopwatch(clock, scheduler)

    for _ in range(2):
        with watch.round():
            assert scheduler.policies == before

    assert watch.facts() == {
        "name": "realtime",
        "says": "wall time",
        "realtime_granted": False,
        "realtime_refused_because": "operation not permitted",
        "rounds_under_realtime": 0,
    }


def test_a_system_without_the_policy_is_recorded_too(clock):
    watch = RealtimeStopwatch(clock, None)

    with watch.round():
        pass

    assert watch.facts()["realtime_refused_because"] == "this system has no SCHED_FIFO"


def test_this_process_keeps_its_policies_whether_or_not_it_may_change_them():
    policies = {t: os.sched_getscheduler(t) for t in LinuxScheduler().threads()}
    watch = stopwatch("realtime", time.perf_counter)

    with watch.round():
        inside = os.sched_getscheduler(0)

    assert (inside == os.SCHED_FIFO) is watch.facts()["realtime_granted"]
    for thread in LinuxScheduler().threads():
        assert os.sched_getscheduler(thread) == policies.get(thread, os.SCHED_OTHER)


def test_the_clocks_that_settings_and_commands_take_are_those_that_there_are():
    assert get_args(ClockName) == tuple(CLOCKS)
    options = {option.name: option for option in OPTIONS}
    assert tuple(options["clock"].type.choices) == tuple(CLOCKS)
    assert tuple(options["cuda_graph"].type.choices) == tuple(WAYS)


@pytest.mark.parametrize("name", CLOCKS)
def test_each_clock_of_the_settings_has_a_stopwatch_that_names_itself(name):
    assert stopwatch(name, CLOCKS[name]).facts()["name"] == name


def test_rounds_hold_what_the_stopwatch_holds_and_the_warm_up_does_not(fake, clock, log):
    class Watch(ClockStopwatch):
        @contextlib.contextmanager
        def round(self):
            log.append("(")
            yield
            log.append(")")

    interleave({"a": fake("A", 1), "b": fake("B", 1)}, FEW, clock, Watch("wall", clock, ""))

    assert "".join(log) == "AB(AABB)(BBAA)"


def test_the_record_of_a_pair_says_whether_real_time_priority_was_given(side):
    settings = FEW.model_copy(update={"clock": "realtime"})

    facts = bench_pair(side, side, settings, Console(quiet=True))["method"]["clock_facts"]

    assert facts["name"] == "realtime"
    assert facts["realtime_granted"] is (facts["realtime_refused_because"] is None)

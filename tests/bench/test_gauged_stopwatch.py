import json

import pytest

from compressor.bench.cuda_stopwatch import CudaStopwatch
from compressor.bench.gauged_stopwatch import (
    BUSY_MS,
    MAX_LAUNCHES,
    GaugedStopwatch,
    num_launches,
    unavailable,
    worst_of,
)
from compressor.bench.nvml import Gauge, State
from compressor.bench.stopwatch import ClockStopwatch

from .gpu_fakes import FakeLauncher, FakeNvml, NVMLError, Timeline

COOL = (1980, 2619, 40, 120_000, 0x0)
HOT = (1410, 2619, 85, 700_000, 0x44)
IDLE = (345, 2619, 38, 70_000, 0x1)


def opened(*looks):
    nvml = FakeNvml(*looks)
    nvml.nvmlInit()
    return nvml, Gauge(nvml, "handle")


def watched(clock, *looks):
    nvml, gauge = opened(*looks)
    return nvml, GaugedStopwatch(ClockStopwatch("wall", clock, "time"), gauge, clock)


def test_the_worst_is_the_lowest_clock_the_highest_heat_and_every_reason():
    states = [opened(look)[1].read() for look in (COOL, HOT, IDLE)]

    worst = worst_of(states)

    assert (worst.sm_mhz, worst.temperature_c, worst.power_w) == (345, 85, 700.0)
    assert worst.reasons == ("sw_power_cap", "hw_thermal_slowdown", "gpu_idle")


def test_figures_that_were_never_given_have_no_worst():
    assert worst_of([State(None, 1, None, None, None)]) == State(None, 1, None, None, None)


def test_the_state_is_read_before_the_first_round_between_rounds_and_at_the_end(clock):
    nvml, watch = watched(clock, COOL, HOT, IDLE)
    for _ in range(3):
        with watch.round():
            clock.now += 0.06  # one look is due in two rounds

    report = watch.report()

    assert report["looks"] == nvml.num_read == 3
    assert (report["before"]["sm_mhz"], report["after"]["sm_mhz"]) == (1980, 345)
    assert report["worst"]["temperature_c"] == 85
    assert report["throttled"] == ["sw_power_cap", "hw_thermal_slowdown"]
    assert json.loads(json.dumps(report)) == report


def test_no_look_is_taken_inside_a_round(clock):
    nvml, watch = watched(clock, COOL)

    with watch.round():
        clock.now += 5
        assert nvml.num_read == 1

    assert nvml.num_read == 2


def test_looks_between_rounds_are_taken_while_runs_are_in_flight(clock, monkeypatch):
    timeline = Timeline()
    _, gauge = opened(COOL)
    read = gauge.read
    monkeypatch.setattr(gauge, "read", lambda: timeline.log.append("look") or read())
    watch = GaugedStopwatch(CudaStopwatch(), gauge, clock)

    with watch.round():
        watch.time_ms(FakeLauncher(timeline))
        del timeline.log[:]
        clock.now += 1
    watch.report()

    assert timeline.log == ["graph"] * 10 + ["look", "synchronise", "look"]


def test_runs_in_flight_last_as_long_as_a_look_whatever_one_of_them_takes():
    assert num_launches(BUSY_MS * 3) == 1
    assert num_launches(BUSY_MS / 4) == 4
    assert num_launches(BUSY_MS / 1e6) == num_launches(0.0) == MAX_LAUNCHES


def test_a_comparison_without_throttling_says_so_and_one_that_nobody_looked_at_does_not(clock):
    _, cool = watched(clock, COOL)
    _, blind = watched(clock, (*COOL[:4], NVMLError("Insufficient Permissions")))

    assert cool.report()["throttled"] == []
    assert blind.report()["throttled"] is None
    assert blind.report()["refused"] == {"reasons": "Insufficient Permissions"}


def test_times_and_facts_are_those_of_the_other_stopwatch(clock, fake):
    _, watch = watched(clock, COOL)

    assert watch.time_ms(fake("net", 7.0)) == pytest.approx(7.0)
    assert (watch.name, watch.facts()["name"]) == ("wall", "wall")


def test_closing_gives_nvml_back(clock):
    nvml, watch = watched(clock, COOL)
    assert nvml.num_open == 1

    watch.close()

    assert nvml.num_open == 0


def test_what_is_unavailable_has_the_same_keys_as_what_was_read(clock):
    _, watch = watched(clock, COOL)

    assert set(unavailable("why")) == set(watch.report())

import pytest

from compressor.bench.cuda_stopwatch import CudaStopwatch, copy_in, copy_out
from compressor.bench.launches import ChoosesLaunch, Launches, TellsFacts
from compressor.bench.stopwatch import stopwatch
from compressor.bench.timer import BenchSettings, TimingSettings, interleave
from compressor.errors import ModelError

from .gpu_fakes import COPY_IN_MS, COPY_OUT_MS, FakeLauncher, Timeline

FEW = TimingSettings(
    rounds=2, settling_runs=1, warmup_rounds=1, warmup_seconds=0, clock="cuda-events"
)


@pytest.fixture
def timeline():
    return Timeline()


@pytest.fixture
def launcher(timeline):
    return FakeLauncher(timeline)


def test_a_launch_is_timed_by_the_gpus_own_clock_between_two_events(launcher, timeline):
    watch = CudaStopwatch()
    watch.time_ms(launcher)
    del timeline.log[:]

    assert watch.time_ms(launcher) == pytest.approx(2.0)
    assert timeline.log == ["record", "graph", "record"]


@pytest.mark.parametrize(("work", "ms"), [(copy_in, COPY_IN_MS), (copy_out, COPY_OUT_MS)])
def test_each_direction_of_copies_is_timed_alone(launcher, work, ms):
    assert CudaStopwatch(work).time_ms(launcher) == pytest.approx(ms)


def test_events_are_made_and_recorded_before_the_first_timed_launch_and_kept(launcher, timeline):
    watch = CudaStopwatch()

    watch.time_ms(launcher)
    watch.time_ms(launcher)

    assert launcher.num_events == 2
    assert timeline.log == ["record", "graph", "record"] * 3


def test_two_runners_have_events_of_their_own(launcher):
    watch, other = CudaStopwatch(), FakeLauncher(Timeline())
    other.launch_by("stream")

    times = [watch.time_ms(runner) for runner in (launcher, other, launcher)]

    assert times == pytest.approx([2.0, 3.0, 2.0])


def test_rounds_hold_no_settling_run(launcher, clock):
    samples = interleave({"a": launcher}, FEW, clock)

    assert samples == {"a": [2.0, 2.0]}


def test_an_engine_without_a_stream_is_refused_in_one_line(fake):
    with pytest.raises(
        ModelError, match="fake launches nothing on a stream.*clock wall"
    ) as refused:
        CudaStopwatch().time_ms(fake("net", 1.0))

    assert "\n" not in str(refused.value)


def test_the_clock_of_that_name_says_that_no_transfer_is_in_it(clock):
    facts = stopwatch("cuda-events", clock).facts()

    assert facts["name"] == "cuda-events"
    assert "no transfers" in facts["says"]


def test_a_runner_is_known_by_what_it_can_do(launcher, fake):
    parts = (Launches, ChoosesLaunch, TellsFacts)

    assert all(isinstance(launcher, part) for part in parts)
    assert not any(isinstance(fake("net", 1.0), part) for part in parts)


def test_a_recipe_cannot_ask_for_the_gpus_clock():
    with pytest.raises(ValueError, match="'cuda-events' is for files on a GPU"):
        BenchSettings(clock="cuda-events")

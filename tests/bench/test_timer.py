import gc
import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from compressor.bench import timer
from compressor.bench.timer import BenchSettings, Latency, compare, interleave, nearest_rank
from compressor.errors import CheckError

FEW = BenchSettings(rounds=4, settling_runs=0, warmup_rounds=1, warmup_seconds=0)


def noisy(rng, median_ms, drift):
    return (median_ms * drift * rng.lognormal(0, 0.05, drift.size)).tolist()


def test_each_round_runs_each_once_and_every_second_round_backwards(fake, clock, log):
    interleave({"dense": fake("A", 1), "slim": fake("B", 1)}, FEW, clock)

    warm_up, timed = "".join(log)[:2], "".join(log)[2:]
    assert warm_up == "AB"
    assert timed == "ABBAABBA"


def test_samples_are_the_durations_of_the_timed_runs_in_milliseconds(fake, clock):
    runners = {"dense": fake("A", 99, 4, 5, 6, 7), "slim": fake("B", 99, 1, 2, 3, 4)}

    samples = interleave(runners, FEW, clock)

    assert samples == {"dense": pytest.approx([4, 5, 6, 7]), "slim": pytest.approx([1, 2, 3, 4])}


def test_settling_runs_come_right_before_each_timed_run_and_do_not_count(fake, clock, log):
    settings = FEW.model_copy(update={"rounds": 2, "settling_runs": 2})
    runners = {"dense": fake("A", 99, 50, 40, 5, 50, 40, 6), "slim": fake("B", 1)}

    samples = interleave(runners, settings, clock)

    assert "".join(log) == "ABAAABBBBBBAAA"
    assert samples["dense"] == pytest.approx([5, 6])


def test_warm_up_lasts_for_its_time_where_the_count_is_reached_sooner(fake, clock, log):
    settings = FEW.model_copy(update={"warmup_seconds": 0.095})

    interleave({"dense": fake("A", 10), "slim": fake("B", 10)}, settings, clock)

    assert len(log) == 2 * (5 + 4)  # 5 rounds of 20 ms to warm up, then 4 timed ones


def test_warm_up_makes_its_count_where_the_time_is_reached_sooner(fake, clock, log):
    settings = FEW.model_copy(update={"warmup_rounds": 7, "warmup_seconds": 0.001})

    interleave({"dense": fake("A", 10), "slim": fake("B", 10)}, settings, clock)

    assert len(log) == 2 * (7 + 4)


def test_the_time_limit_ends_warm_up_and_rounds_but_leaves_one_round_of_each_order(
    fake, clock, log
):
    settings = FEW.model_copy(update={"rounds": 100, "warmup_rounds": 100, "max_seconds": 1.0})

    samples = interleave({"dense": fake("A", 2000), "slim": fake("B", 2000)}, settings, clock)

    assert "".join(log) == "ABABBA"
    assert [len(series) for series in samples.values()] == [2, 2]


def test_rounds_stop_at_the_first_one_past_the_time_limit(fake, clock):
    settings = FEW.model_copy(update={"rounds": 100, "max_seconds": 0.095})

    samples = interleave({"dense": fake("A", 6), "slim": fake("B", 4)}, settings, clock)

    assert len(samples["dense"]) == len(samples["slim"]) == 10


def test_the_garbage_collector_rests_while_timing_and_goes_on_after_a_failure(clock):
    seen = []

    class Failing:
        engine = "failing"

        def run(self):
            seen.append(gc.isenabled())
            if len(seen) == 3:
                raise RuntimeError("the engine broke")

    with pytest.raises(RuntimeError, match="the engine broke"):
        interleave({"dense": Failing()}, FEW, clock)

    assert seen == [True, False, False]
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1), (50, 50), (90, 90), (99, 99), (100, 100)]
)
def test_percentiles_of_1_to_100_are_their_own_rank(percent, expected):
    assert nearest_rank(range(100, 0, -1), percent) == expected


@pytest.mark.parametrize(("percent", "expected"), [(50, 3), (90, 5), (30, 2), (40, 2), (41, 3)])
def test_percentiles_are_samples_never_values_between_them(percent, expected):
    assert nearest_rank([5, 3, 1, 4, 2], percent) == expected


@given(
    st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40), st.sampled_from([1, 50, 90, 99, 100])
)
def test_a_percentile_is_the_smallest_sample_not_exceeded_by_its_share(samples, percent):
    def enough(value):
        return 100 * sum(sample <= value for sample in samples) >= percent * len(samples)

    assert nearest_rank(samples, percent) == min(filter(enough, samples))


def test_latency_of_known_samples():
    latency = Latency.of([4.0, 1.0, 2.0, 3.0])

    assert latency == Latency(p50=2.0, p90=4.0, p99=4.0, mean=2.5, min=1.0, num_samples=4)
    assert latency.to_json() == {
        "p50": 2.0,
        "p90": 4.0,
        "p99": 4.0,
        "mean": 2.5,
        "min": 1.0,
        "samples": 4,
        "p99_reliable": False,
    }


@pytest.mark.parametrize(("num_samples", "reliable"), [(299, False), (300, True)])
def test_p99_is_reliable_from_three_hundred_samples(num_samples, reliable):
    assert Latency.of([1.0] * num_samples).p99_reliable is reliable


def test_a_planted_ratio_lies_in_a_narrow_interval_though_the_machine_drifts():
    rng = np.random.default_rng(1)
    drift = np.linspace(1, 3, 200)  # the machine becomes three times slower meanwhile

    dense, slim = noisy(rng, 15.0, drift), noisy(rng, 10.0, drift)

    ratio, unpaired = compare(dense, slim), compare(dense, rng.permutation(slim).tolist())

    assert ratio.low < 1.5 < ratio.high
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.high - ratio.low < (unpaired.high - unpaired.low) / 2


def test_the_interval_covers_the_planted_ratio_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(timer, "NUM_RESAMPLES", 200)
    rng = np.random.default_rng(2)
    flat = np.ones(60)
    intervals = [compare(noisy(rng, 3.0, flat), noisy(rng, 2.0, flat)) for _ in range(100)]

    covered = sum(interval.low <= 1.5 <= interval.high for interval in intervals)

    assert 88 <= covered <= 100


def test_equal_series_have_the_ratio_one_without_any_doubt():
    ratio = compare([1.0, 5.0, 2.0], [1.0, 5.0, 2.0])

    assert (ratio.median, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_the_ratio_is_that_of_the_reported_medians():
    dense, slim = [8.0, 2.0, 4.0, 7.0], [1.0, 3.0, 2.0, 4.0]

    expected = Latency.of(dense).p50 / Latency.of(slim).p50

    assert compare(dense, slim).median == expected == 2.0


def test_the_same_samples_give_the_same_interval():
    rng = np.random.default_rng(3)
    dense, slim = noisy(rng, 3.0, np.ones(30)), noisy(rng, 2.0, np.ones(30))

    assert compare(dense, slim) == compare(dense, slim)


def test_a_clock_that_shows_nothing_is_refused():
    with pytest.raises(CheckError, match="too coarse: a run took 0 ms"):
        compare([1.0, 1.0], [1.0, 0.0])


def test_series_of_different_length_are_our_bug():
    with pytest.raises(ValueError, match="2 samples against 1"):
        compare([1.0, 1.0], [1.0])


def test_settings_accept_the_lists_of_a_recipe():
    recipe = tomllib.loads('batch_sizes = [1, 8]\nengines = ["torch"]\nmax_seconds = 3')

    settings = BenchSettings.model_validate(recipe)

    assert settings.batch_sizes == (1, 8)
    assert settings.engines == ("torch",)


def test_settings_come_back_from_json():
    settings = BenchSettings(batch_sizes=(4,), clock="process")

    assert BenchSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_sizes": [1, 1]}, "batch_sizes names one value twice"),
        ({"batch_sizes": [0]}, "greater than 0"),
        ({"batch_sizes": ["8"]}, "valid integer"),
        ({"engines": []}, "at least 1 item"),
        ({"engines": ["tensorflow"]}, "'openvino' or 'torch'"),
        ({"rounds": 1}, "greater than or equal to 2"),
        ({"max_seconds": math.inf}, "finite number"),
        ({"clock": "process", "num_threads": 2}, "time of all 2 threads"),
        ({"treads": 2}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        BenchSettings.model_validate(values)

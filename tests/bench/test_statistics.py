import pytest

from compressor.bench.statistics import figures, throughput, transfer_figures, variation


def test_variation_is_the_deviation_of_all_samples_over_their_mean():
    assert variation([8.0, 12.0]) == pytest.approx(0.2)
    assert variation([5.0, 5.0]) == 0.0


def test_throughput_counts_the_images_of_all_runs_over_all_their_time():
    assert throughput([10.0, 30.0], batch_size=4) == pytest.approx(8 / 0.04)


@pytest.mark.parametrize(("slow_ms", "stable"), [(10.4, True), (10.6, False)])
def test_a_series_is_stable_up_to_two_and_a_half_per_cent(slow_ms, stable):
    assert figures([10.0, slow_ms], batch_size=1, clock="wall")["stable"] is stable


def test_a_p99_of_few_samples_is_marked():
    assert figures([1.0, 2.0], batch_size=1, clock="wall")["latency_ms"]["p99_reliable"] is False


def test_copies_have_latencies_of_their_own_and_only_means_are_added():
    found = transfer_figures({"h2d": [1.0, 3.0], "d2h": [0.5, 0.5]}, compute_ms=[10.0, 20.0])

    assert (found["h2d"]["p50"], found["d2h"]["mean"]) == (1.0, 0.5)
    assert found["latency_mean"] == pytest.approx(2.0 + 0.5 + 15.0)


def test_without_copies_there_are_no_figures_of_them():
    assert transfer_figures({}, [1.0]) is None


@pytest.mark.parametrize(
    ("clock", "images"),
    [("wall", 100), ("realtime", 100), ("process", None), ("cuda-events", None)],
)
def test_throughput_is_of_time_that_passes_and_of_no_other(clock, images):
    assert figures([10.0, 10.0], batch_size=1, clock=clock)["images_per_second"] == images

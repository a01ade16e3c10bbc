from compressor.init.forecast import (
    LEAST_SEARCH,
    LEAST_TUNE,
    choose_epochs,
    forecast,
    seconds_besides,
)
from compressor.init.trial import Export, Speed

SPEED = Speed(search=0.02, dense=0.015, slim=0.008, teacher=0.002)


def test_a_forecast_is_epochs_times_images_times_the_measured_step():
    epochs = choose_epochs(SPEED, 100, 1e9, most_tune=6, trains_dense=True)
    seconds = forecast(SPEED, 100, epochs, rest=7.0)
    assert (epochs.search, epochs.tune, epochs.dense) == (2, 6, 8)
    assert seconds.search == 2 * 100 * 0.02
    assert seconds.tune == 6 * 100 * (0.008 + 0.002)
    assert seconds.dense == 8 * 100 * 0.015
    assert seconds.total == seconds.search + seconds.tune + seconds.dense + 7.0


def test_epochs_are_the_most_that_fit_into_the_time():
    for seconds in (60.0, 90.0, 200.0):
        epochs = choose_epochs(SPEED, 1000, seconds, most_tune=40, trains_dense=False)
        assert epochs.dense == 0
        assert forecast(SPEED, 1000, epochs, rest=0.0).total <= seconds or epochs.tune == LEAST_TUNE
    more = choose_epochs(SPEED, 1000, 220.0, most_tune=40, trains_dense=False)
    assert more.tune > epochs.tune - 2 > LEAST_TUNE


def test_no_time_still_leaves_a_path_and_a_tuned_network():
    epochs = choose_epochs(SPEED, 1000, -5.0, most_tune=40, trains_dense=True)
    assert (epochs.search, epochs.tune) == (LEAST_SEARCH, LEAST_TUNE)


def test_the_rest_grows_with_the_export_and_never_past_the_longest_table():
    quick = seconds_besides(3.0, Export(seconds=2.0, bytes=1, dense_ms=0.01))
    slow = seconds_besides(3.0, Export(seconds=2.0, bytes=1, dense_ms=1e6))
    assert slow - quick > 60
    assert slow == seconds_besides(3.0, Export(seconds=2.0, bytes=1, dense_ms=1e7))

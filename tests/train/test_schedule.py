import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.train.schedule import learning_rate, path_time
from compressor.train.settings import TrainSettings

SCHEDULES = ("constant", "cosine", "linear")


def rates(steps_per_epoch, **settings):
    settings = TrainSettings(**settings)
    steps = range(settings.epochs * steps_per_epoch)
    return [learning_rate(settings, step, steps_per_epoch) for step in steps]


@pytest.mark.parametrize(
    ("schedule", "at_quarter", "at_half"),
    [
        ("constant", 0.4, 0.4),
        ("linear", 0.3, 0.2),
        ("cosine", 0.4 * (1 + math.sqrt(0.5)) / 2, 0.2),
    ],
)
def test_rates_follow_their_closed_form(schedule, at_quarter, at_half):
    found = rates(25, epochs=4, lr=0.4, schedule=schedule)
    assert found[0] == pytest.approx(0.4)
    assert found[25] == pytest.approx(at_quarter)
    assert found[50] == pytest.approx(at_half)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warm_up_rises_in_equal_steps_to_the_full_rate(schedule):
    found = rates(10, epochs=3, lr=0.5, warmup_epochs=0.5, schedule=schedule)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5] == pytest.approx(0.5)


def test_a_warm_up_as_long_as_the_run_never_falls():
    found = rates(4, epochs=2, lr=0.8, warmup_epochs=9.0, schedule="cosine")
    assert found == pytest.approx([0.1 * step for step in range(1, 9)])


@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 5),
    steps_per_epoch=st.integers(1, 8),
    warmup_epochs=st.floats(0, 7),
)
def test_rates_are_positive_never_above_the_largest_and_add_up_to_the_path_time(
    schedule, epochs, steps_per_epoch, warmup_epochs
):
    settings = {"epochs": epochs, "lr": 0.3, "schedule": schedule, "warmup_epochs": warmup_epochs}
    found = rates(steps_per_epoch, **settings)
    assert all(0 < rate <= 0.3 + 1e-12 for rate in found)
    assert path_time(TrainSettings(**settings), steps_per_epoch) == pytest.approx(sum(found))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_after_the_warm_up_rates_fall_towards_zero(schedule):
    found = rates(50, epochs=2, lr=1.0, warmup_epochs=0.2, schedule=schedule)
    assert all(a > b for a, b in zip(found[10:], found[11:], strict=False))
    assert found[-1] < 0.02

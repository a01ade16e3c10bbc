import pytest

from compressor.sparsity.itop_schedule import (
    Schedule,
    default_interval,
    most_explored,
    num_exchanged,
)


@pytest.mark.parametrize(
    ("share", "kept", "size", "expected"),
    [
        (0.5, 10, 100, 5),
        (0.1, 30, 100, 3),  # 0.1 * 30 is a little more than 3 in floats
        (0.005, 10, 100, 1),
        (0.5, 10, 12, 2),  # no more than there are others
        (0.5, 1, 12, 0),  # the last one stays
        (0.9, 10, 10, 0),
        (0.0, 10, 20, 0),
    ],
)
def test_the_share_that_is_exchanged_is_rounded_up_within_what_there_is(
    share, kept, size, expected
):
    assert num_exchanged(share, kept, size) == expected


def test_default_intervals_have_the_published_number_of_updates_where_the_run_is_long_enough():
    assert default_interval(88_000, 22) == 4000
    assert default_interval(700, 22) == 50
    assert default_interval(100, 22) == 20
    assert default_interval(1, 22) == 1


def test_updates_come_at_every_interval_until_the_stop_and_never_after_the_last_step():
    def due(schedule):
        return [step for step in range(101) if schedule.is_due(step)]

    assert due(Schedule(100, 75, 25, 0.5, 0.0)) == [25, 50, 75]
    assert due(Schedule(100, 100, 25, 0.5, 0.0)) == [25, 50, 75]
    assert due(Schedule(100, 0, 25, 0.5, 0.0)) == []
    assert [Schedule(100, 75, 25, 0.5, 0.0).num_done(s) for s in (24, 25, 99)] == [0, 1, 3]


def test_the_drop_share_falls_along_a_cosine_and_stays_at_its_end():
    schedule = Schedule(100, 80, 20, 0.5, 0.1)
    assert schedule.share(0) == 0.5
    assert schedule.shares()[1] == pytest.approx(0.3)
    assert schedule.share(80) == schedule.share(95) == pytest.approx(0.1)


def test_the_bound_counts_every_exchange_as_new_until_a_layer_is_through():
    assert most_explored([10, 10], [100, 15], [0.5, 0.3]) == pytest.approx((18 + 15) / 115)
    assert most_explored([], [], [0.5]) == 1.0

import threading
import time

import pytest

from compressor.time_limit import TimeOver, within


def test_work_that_is_done_in_time_gives_its_answer():
    assert within(30, lambda: 7) == 7


def test_what_the_work_raises_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0)


def test_work_that_does_not_end_is_stopped_and_may_clean_up():
    cleaned, threads = [], threading.active_count()

    def forever():
        try:
            while True:
                time.sleep(0.001)
        finally:
            cleaned.append(True)

    started = time.monotonic()
    with pytest.raises(TimeOver):
        within(0.05, forever)
    assert cleaned == [True]
    assert threading.active_count() == threads
    assert time.monotonic() - started < 5

"""Work that is given up when its time is over."""

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Callable
from typing import TypeVar

STOP_SECONDS = 10.0
"""How long to wait for stopped work; what sits in a single long call of C++ goes on meanwhile."""

COLLECTION_SECONDS = 0.3
"""How long a garbage collection that is on its way may take; most take a tenth of it."""

Answer = TypeVar("Answer")


class TimeOver(Exception):
    """The work was not done in time, and was stopped."""


def within(seconds: float, work: Callable[[], Answer]) -> Answer:
    """What ``work`` returns; it runs in a thread of its own.

    Raises:
        TimeOver: It was not done after ``seconds``. SystemExit was raised in its thread, so that
            its blocks could clean up.
        BaseException: Whatever it raised itself.
    """
    answers: list[Answer] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def body() -> None:
        # The outer one is for a second SystemExit, sent before the first was noticed.
        with contextlib.suppress(SystemExit):
            try:
                answers.append(work())
            except BaseException as failure:  # noqa: BLE001  carried to the caller's thread below
                failures.append(failure)
            finally:
                over.set()

    thread = threading.Thread(target=body, name="within a time limit", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _stop(thread, over)
        raise TimeOver
    if failures:
        raise failures[0]
    return answers[0]


def _stop(thread: threading.Thread, over: threading.Event) -> None:
    """Raise SystemExit in ``thread`` until its work is over: one in a destructor Python drops."""
    assert thread.ident is not None
    deadline = time.monotonic() + STOP_SECONDS
    # A collection may call back into Python, where the exception would be printed and dropped: none
    # may begin from here on, and one that has begun gets time to end.
    collecting = gc.isenabled()
    gc.disable()
    try:
        over.wait(COLLECTION_SECONDS)
        while not over.is_set() and time.monotonic() < deadline:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
            )
            over.wait(0.05)
        thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        if collecting:
            gc.enable()

"""What a person sees while something runs: lines and progress, all on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

LINES_PER_TASK = 10
"""Away from a terminal, a long step prints one line for each tenth of it."""

Advance = Callable[[str], None]
"""Called once for each step done, with a short note on where things stand (may be empty)."""


class Console:
    """Says lines and tracks long steps; silent when ``quiet``, except for warnings."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self._stream = stream if stream is not None else sys.stderr
        self._live: RichConsole | None = None

    def say(self, text: str) -> None:
        """Print one line."""
        if not self.quiet:
            self._write(text)

    def warn(self, text: str) -> None:
        """Print one line even when quiet."""
        self._write(f"warning: {text}")

    @contextmanager
    def track(self, label: str, num_steps: int, *, done: int = 0) -> Iterator[Advance]:
        """Show how far a step of ``num_steps`` is; ``done`` of them were done before."""
        if self.quiet:
            yield lambda _note: None
        elif self._stream.isatty():
            with self._bar(label, num_steps, done) as advance:
                yield advance
        else:
            yield _Lines(self._write, label, num_steps, done).advance

    def _write(self, text: str) -> None:
        if self._live is not None:
            # Rich moves the bar below the line; written past it, the line would run into the bar.
            self._live.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        self._stream.write(text + "\n")
        self._stream.flush()

    @contextmanager
    def _bar(self, label: str, num_steps: int, done: int) -> Iterator[Advance]:
        # Only where a bar is shown: Rich takes longer to load than a help text to appear.
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        rich_console = RichConsole(file=self._stream)
        with Progress(*columns, console=rich_console) as progress, self._lines_above(rich_console):
            bar = progress.add_task(label, total=num_steps, completed=done, note="")

            def advance(note: str) -> None:
                progress.advance(bar)
                if note:
                    progress.update(bar, note=note)

            yield advance

    @contextmanager
    def _lines_above(self, rich_console: "RichConsole") -> Iterator[None]:
        self._live = rich_console
        try:
            yield
        finally:
            self._live = None


class _Lines:
    """Progress as plain lines, one for each tenth of the step."""

    def __init__(self, write: Callable[[str], None], label: str, num_steps: int, done: int) -> None:
        self._write, self._label, self._num_steps, self._done = write, label, num_steps, done
        self._first_done = done
        self._started = time.monotonic()
        self._note = ""

    def advance(self, note: str) -> None:
        tenth_before = self._done * LINES_PER_TASK // self._num_steps
        self._done += 1
        self._note = note or self._note
        if self._done * LINES_PER_TASK // self._num_steps == tenth_before:
            return
        share = self._done / self._num_steps
        elapsed = time.monotonic() - self._started
        left = elapsed * (self._num_steps - self._done) / (self._done - self._first_done)
        line = f"{self._label}: {share:.0%}, {left:.0f} s left"
        self._write(f"{line}, {self._note}" if self._note else line)

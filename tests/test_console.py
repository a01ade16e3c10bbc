import io

import pytest

from compressor.console import Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stream():
    return io.StringIO()


def test_a_line_is_said_as_it_is(stream):
    Console(stream=stream).say("100 % [bold] done")
    assert stream.getvalue() == "100 % [bold] done\n"


def test_a_quiet_console_keeps_lines_to_itself_and_still_warns(stream):
    console = Console(quiet=True, stream=stream)
    console.say("epoch 1")
    with console.track("train", 3) as advance:
        advance("loss 1.0")
    console.warn("the support is empty")
    assert stream.getvalue() == "warning: the support is empty\n"


def test_lines_go_to_stderr_unless_told_otherwise(capsys):
    Console().say("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


@pytest.mark.parametrize(("num_steps", "lines"), [(1, 1), (7, 7), (10, 10), (1000, 10)])
def test_progress_away_from_a_terminal_is_at_most_a_line_per_tenth(stream, num_steps, lines):
    with Console(stream=stream).track("train", num_steps) as advance:
        for _ in range(num_steps):
            advance("")
    assert len(stream.getvalue().splitlines()) == lines
    assert stream.getvalue().splitlines()[-1] == "train: 100%, 0 s left"


def test_a_note_stays_until_there_is_another(stream):
    with Console(stream=stream).track("train", 10) as advance:
        for note in ("loss 2", "", "loss 1"):
            advance(note)
    notes = [line.rpartition(", ")[2] for line in stream.getvalue().splitlines()]
    assert notes == ["loss 2", "loss 2", "loss 1"]


def test_progress_goes_on_where_it_was(stream):
    with Console(stream=stream).track("train", 10, done=5) as advance:
        advance("")
    assert stream.getvalue().startswith("train: 60%")


def test_a_line_said_under_a_bar_stands_on_a_line_of_its_own():
    terminal = Terminal()
    console = Console(stream=terminal)
    with console.track("train", 4) as advance:
        advance("loss 1.0")
        console.say("epoch 1/4 [not markup], " + "x" * 200)
        console.warn("slow")
    console.say("after")
    text = terminal.getvalue()
    assert "epoch 1/4 [not markup], " + "x" * 200 + "\n" in text
    assert "warning: slow\n" in text
    assert text.endswith("after\n")


def test_a_bar_ends_when_the_step_fails():
    terminal = Terminal()
    console = Console(stream=terminal)
    with pytest.raises(ZeroDivisionError), console.track("train", 4):
        raise ZeroDivisionError
    console.say("plain")
    assert terminal.getvalue().endswith("plain\n")

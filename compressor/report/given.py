"""The network as the user gave it, beside dense and slim: its row, and its figure on top."""

from compressor.report import formats
from compressor.report.page import Fact
from compressor.report.run_files import Summary

GIVEN_ROW = "Given network, before any training"
UNMEASURED = "not measured"


def given_row(summary: Summary) -> tuple[tuple[str, str, str], ...]:
    """Name, accuracy and difference to dense of the given network; empty where none was given."""
    given = summary.given
    if given is None:
        return ()
    if given.accuracy is None:
        return ((GIVEN_ROW, formats.NOTHING, UNMEASURED),)
    change = formats.signed_points(given.accuracy - summary.dense.accuracy)
    return ((GIVEN_ROW, formats.percent(given.accuracy), change),)


def given_notes(summary: Summary) -> tuple[str, ...]:
    """Why the given network was not measured; too long for a cell of a table."""
    if summary.given is None or summary.given.accuracy is not None:
        return ()
    return (f"The given network was not measured: {summary.given.why_unmeasured}.",)


def given_facts(summary: Summary) -> tuple[Fact, ...]:
    """What the given network gets right, for the top of a report; empty where not measured."""
    if summary.given is None or summary.given.accuracy is None:
        return ()
    return (Fact(formats.percent(summary.given.accuracy), "accuracy of the given network"),)


def given_accuracy(summary: Summary) -> tuple[tuple[str, str, str, str], ...]:
    """The given network as a row of the table of dense beside slim; empty where none was given.

    It stands in the column of the dense network, which it is before it is trained.
    """
    rows = given_row(summary)
    unmeasured = summary.given is not None and summary.given.accuracy is None
    return tuple(
        ("Accuracy as given", accuracy, formats.NOTHING, told if unmeasured else formats.NOTHING)
        for _name, accuracy, told in rows
    )

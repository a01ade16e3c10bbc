"""Drawings of how a network came about: its path, its widths, its training."""

from bisect import bisect_right
from collections.abc import Sequence

from markupsafe import Markup

from compressor.report import formats
from compressor.report.chart import Axis, Line, draw_chart, line_legend
from compressor.report.markup import element, void
from compressor.report.rows import Area, Group, Row, Span, draw_rows, legend
from compressor.report.run_files import Entries, EntryPath, Epoch, Width
from compressor.report.scale import scale_of, scale_of_shares

MOMENTS = 200
"""Places of the slider beside its start; at each of them the counts shown are exact."""

STAGE_KINDS = {"Dense": "dense", "Sparse training": "search", "Tuning": "slim"}
"""How the line of each stage looks."""


def path_drawing(
    path: EntryPath, end_time: float, epoch_ends: Sequence[float], description: str
) -> Markup:
    """How the units of each coupling entered over path time, with a slider over that time.

    Args:
        path: Entries of each coupling, at least one of them.
        end_time: Path time at which the search ended, > 0.
        epoch_ends: Path time at the end of each epoch, rising; may be empty.
        description: For those who do not see the drawing.
    """
    rows = tuple(_lane(name, units, end_time) for name, units in path.couplings.items())
    lanes = draw_rows([Group("", rows)], description, "lanes")
    data = {
        "class": "path",
        "data-end": f"{end_time:.6g}",
        "data-epochs": " ".join(f"{time:.6g}" for time in epoch_ends),
    }
    return element("div", data, _slider(), lanes, _time_axis(end_time))


def _lane(name: str, entries: Entries, end_time: float) -> Row:
    times, num_units = entries.times(), len(entries.entry_step)
    corners = share_steps(times, num_units, end_time)
    value = f"{formats.integer(len(times))} of {formats.integer(num_units)}"
    steps = " ".join(f"{at}:{count}" for at, count in counts_at_moments(times, end_time))
    return Row(name, (Area(corners, "entered"),), value, data=f"{num_units};{steps}")


def share_steps(
    times: list[float], num_units: int, end_time: float
) -> tuple[tuple[float, float], ...]:
    """Corners of the line that counts ``times``: share of ``end_time``, share of units.

    Units that enter at the same time make one corner; a coupling without units stays at 0.
    """
    corners = {0.0: 0.0}
    for rank, time in enumerate(times, start=1):
        corners[time / end_time] = rank / num_units
    return tuple(corners.items())


def counts_at_moments(times: list[float], end_time: float) -> list[tuple[int, int]]:
    """``(moment, entries until then)``, for the moments of the slider at which the count changes.

    Args:
        times: Of entry, rising.
        end_time: Path time of the last moment.
    """
    counts = [(at, bisect_right(times, end_time * at / MOMENTS)) for at in range(MOMENTS)]
    counts.append((MOMENTS, len(times)))
    return [(at, count) for at, count in counts if count and (not at or counts[at - 1][1] != count)]


def _slider() -> Markup:
    """Hidden until the script is there to follow it."""
    number = {"min": "0", "max": str(MOMENTS), "step": "1", "value": str(MOMENTS)}
    name = "path-moment"
    return element(
        "div",
        {"class": "slider", "hidden": ""},
        element("label", {"for": name}, "Moment of the search"),
        void("input", {"type": "range", "id": name, **number}),
        # Not read out by itself: the slider says the same words.
        element("output", {"for": name, "aria-live": "off"}),
    )


def _time_axis(end_time: float) -> Markup:
    ends = (element("span", {}, "0"), element("span", {}, formats.three_digits(end_time)))
    title = element("span", {}, "path time")
    return element("div", {"class": "time-axis", "aria-hidden": "true"}, ends[0], title, ends[1])


def widths_drawing(widths: Sequence[Width], description: str) -> Markup:
    """The network from its first coupling down to its last, dense behind kept, around one axis."""
    most = max(width.units for width in widths)
    rows = tuple(
        Row(
            width.coupling,
            (_around(width.units / most, "dense"), _around(width.kept / most, "slim")),
            f"{formats.integer(width.kept)} of {formats.integer(width.units)}",
        )
        for width in widths
    )
    keys = legend((("dense", "before"), ("slim", "after")))
    return keys + draw_rows([Group("", rows)], description, "widths")


def _around(share: float, kind: str) -> Span:
    return Span((1 - share) / 2, (1 + share) / 2, kind)


def accuracy_chart(histories: dict[str, list[Epoch]], description: str) -> Markup:
    """Validation accuracy after each epoch, one line for each stage."""
    reached = [e.validation_accuracy for history in histories.values() for e in history]
    longest = max(history[-1].epoch for history in histories.values())
    y = Axis("Validation accuracy", scale_of_shares(reached), formats.short_percent)
    x = Axis("Epoch", scale_of(0, longest), formats.number)
    lines = [
        Line(
            tuple((epoch.epoch, epoch.validation_accuracy) for epoch in history),
            STAGE_KINDS[stage],
        )
        for stage, history in histories.items()
    ]
    keys = line_legend([(STAGE_KINDS[stage], stage) for stage in histories])
    return keys + draw_chart(x, y, lines, description)

"""Lines and points over two axes. The lines stretch with the page, the words keep their size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from compressor.report.markup import element, percent_of
from compressor.report.scale import Scale

SIDE = 1000
"""Width and height of the drawing in its own units; the page stretches it."""


@dataclass(frozen=True)
class Axis:
    """One axis: its name, its numbers, and how a tick is written."""

    title: str
    scale: Scale
    text: Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """Points in the numbers of the axes, joined by a line where ``joined``; ``kind`` is its look.

    ``labels`` stand beside the points, one each, or there are none.
    """

    points: tuple[tuple[float, float], ...]
    kind: str
    joined: bool = True
    labels: tuple[str, ...] = ()


def draw_chart(x: Axis, y: Axis, lines: Sequence[Line], description: str) -> Markup:
    """The chart; to those who do not see it ``description`` is read instead."""
    box = {"viewBox": f"0 0 {SIDE} {SIDE}", "preserveAspectRatio": "none", "aria-hidden": "true"}
    drawn = [_grid(y.scale), *(part for line in lines for part in _line(x.scale, y.scale, line))]
    labels = [part for line in lines for part in _labels(x.scale, y.scale, line)]
    return element(
        "div",
        {"class": "chart", "role": "img", "aria-label": description},
        element("span", {"class": "y-title"}, y.title),
        element("div", {"class": "y-ticks"}, *_ticks(y, "bottom")),
        element("div", {"class": "plot-area"}, element("svg", box, *drawn), *labels),
        element("div", {"class": "x-ticks"}, *_ticks(x, "left")),
        element("span", {"class": "x-title"}, x.title),
    )


def line_legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the lines mean, each key drawn like its line: ``(kind, words)`` each."""
    items = (element("li", {}, _line_key(kind), words) for kind, words in entries)
    return element("ul", {"class": "legend"}, *items)


def _line_key(kind: str) -> Markup:
    box = {"class": "line-key", "viewBox": "0 0 40 10", "aria-hidden": "true"}
    line = element("path", {"class": f"line {kind}", "d": "M0 5H40"})
    return element("svg", box, line, element("path", {"class": f"dots {kind}", "d": "M20 5h0"}))


def _ticks(axis: Axis, side: str) -> list[Markup]:
    return [
        element("span", {"style": f"{side}:{percent_of(axis.scale.share(tick))}"}, axis.text(tick))
        for tick in axis.scale.ticks
    ]


def _grid(scale: Scale) -> Markup:
    path = "".join(f"M0 {_down(scale.share(tick))}H{SIDE}" for tick in scale.ticks)
    return element("path", {"class": "grid", "d": path})


def _line(x: Scale, y: Scale, line: Line) -> list[Markup]:
    places = [f"{_along(x.share(a))} {_down(y.share(b))}" for a, b in line.points]
    joined = element("path", {"class": f"line {line.kind}", "d": f"M{' '.join(places)}"})
    # A line of no length with a round end is a dot that does not stretch with the drawing.
    dots_path = "".join(f"M{place}h0" for place in places)
    dots = element("path", {"class": f"dots {line.kind}", "d": dots_path})
    # Seen only where the look of the line says that its dots are hollow.
    cores = element("path", {"class": f"cores {line.kind}", "d": dots_path})
    return [joined, dots, cores] if line.joined else [dots, cores]


def _labels(x: Scale, y: Scale, line: Line) -> list[Markup]:
    if not line.labels:
        return []
    return [
        element(
            "span", {"class": f"label {line.kind}", "style": _place(x.share(a), y.share(b))}, text
        )
        for (a, b), text in zip(line.points, line.labels, strict=True)
    ]


def _place(across: float, up: float) -> str:
    return f"left:{percent_of(across)};bottom:{percent_of(up)}"


def _along(share: float) -> str:
    return f"{round(SIDE * share, 1):g}"


def _down(share: float) -> str:
    return f"{round(SIDE * (1 - share), 1):g}"

"""Drawings made of rows: a name, a lane with marks in it, a value. They wrap on narrow screens."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from compressor.report.markup import element, percent_of

LANE_WIDTH, LANE_HEIGHT = 1000, 100
"""Units in which areas are drawn; they are stretched to the lane."""


@dataclass(frozen=True)
class Span:
    """A bar between two places of the lane, both in [0, 1]; ``kind`` is how it looks."""

    low: float
    high: float
    kind: str

    def markup(self) -> Markup:
        """The bar."""
        width = percent_of(self.high - self.low)
        style = f"left:{percent_of(self.low)};width:{width}"
        return element("i", {"class": f"span {self.kind}", "style": style})


@dataclass(frozen=True)
class Point:
    """A mark at one place of the lane, in [0, 1]."""

    at: float
    kind: str

    def markup(self) -> Markup:
        """The mark."""
        style = f"left:{percent_of(self.at)}"
        return element("i", {"class": f"point {self.kind}", "style": style})


@dataclass(frozen=True)
class Area:
    """What is below a line of steps; each corner is a place and a height in [0, 1]."""

    corners: tuple[tuple[float, float], ...]
    kind: str

    def markup(self) -> Markup:
        """The area, from the first corner to the end of the lane."""
        path = f"M{_x(self.corners[0][0])} {LANE_HEIGHT}"
        for place, height in self.corners:
            path += f"H{_x(place)}V{LANE_HEIGHT - round(LANE_HEIGHT * height, 1):g}"
        path += f"H{LANE_WIDTH}V{LANE_HEIGHT}Z"
        box = f"0 0 {LANE_WIDTH} {LANE_HEIGHT}"
        frame = {"viewBox": box, "preserveAspectRatio": "none", "class": f"area {self.kind}"}
        return element("svg", frame, element("path", {"d": path}))


def _x(place: float) -> str:
    return f"{round(LANE_WIDTH * place, 1):g}"


Mark = Span | Point | Area


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: What it is of.
        marks: What stands in its lane, the first at the back.
        value: The figures in words.
        data: What the script needs to change ``value``; see ``page.js``.
    """

    name: str
    marks: tuple[Mark, ...]
    value: str
    data: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that share a scale, under a title if it has one."""

    title: str
    rows: tuple[Row, ...]


def draw_rows(groups: Sequence[Group], description: str, kind: str) -> Markup:
    """The drawing; to those who do not see it ``description`` is read instead."""
    inside = [part for group in groups for part in _group(group)]
    frame = {"class": f"rows {kind}", "role": "img", "aria-label": description}
    return element("div", frame, *inside)


def _group(group: Group) -> list[Markup]:
    title = [element("p", {"class": "group"}, group.title)] if group.title else []
    return title + [_row(row) for row in group.rows]


def _row(row: Row) -> Markup:
    data = {"data-steps": row.data} if row.data else {}
    return element(
        "div",
        {"class": "row"},
        element("span", {"class": "name"}, _breakable(row.name)),
        element("span", {"class": "lane"}, *(mark.markup() for mark in row.marks)),
        element("span", {"class": "value", **data}, row.value),
    )


def _breakable(name: str) -> Markup:
    """A long name may go on in the next line after a dot."""
    return Markup(".<wbr>").join(name.split("."))


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the marks mean: ``(kind, words)`` each."""
    items = (
        element("li", {}, element("i", {"class": f"key {kind}", "aria-hidden": "true"}), words)
        for kind, words in entries
    )
    return element("ul", {"class": "legend"}, *items)

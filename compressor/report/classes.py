"""The section on classes: which of them paid for what was removed."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from compressor.report import formats
from compressor.report.class_counts import ClassCounts
from compressor.report.page import Plot, Section, Table
from compressor.report.paired import CONFIDENCE, Change
from compressor.report.rows import Group, Point, Row, Span, draw_rows, legend
from compressor.report.scale import Scale, scale_of

MAX_DRAWN = 30
"""Classes in the drawing; of more, half are those that lost most and half those that won most."""

KEYS = {
    "worse": "interval, clearly worse",
    "better": "interval, clearly better",
    "no clear change": "interval, no clear change",
}
"""Verdict -> what its mark means."""


@dataclass(frozen=True)
class _Judged:
    counts: ClassCounts
    change: Change

    @property
    def verdict(self) -> str:
        if self.change.high < 0:
            return "worse"
        return "better" if self.change.low > 0 else "no clear change"


def classes_section(classes: Sequence[ClassCounts]) -> Section | None:
    """Change of accuracy of each class, those that lost most first; ``None`` without counts."""
    seen = [_Judged(counts, counts.change()) for counts in classes if counts.images]
    if not seen:
        return None
    judged = sorted(seen, key=lambda one: one.change.value)
    columns = ("Class", "Images", "Dense", "Slim", "Change", "Interval", "Verdict")
    rows = tuple(map(_row, judged))
    table = Table("Accuracy of each class", columns, rows, folded=len(rows) > MAX_DRAWN)
    description = (
        f"Change of accuracy {_which(len(judged))}, slim minus dense, with its "
        f"{CONFIDENCE:.0%} interval, in percentage points"
    )
    plot = Plot(description, _drawing(_drawn(judged), description))
    return Section("classes", "Classes", _notes(judged, len(classes)), (plot,), (table,))


def _notes(judged: list[_Judged], num_classes: int) -> tuple[str, ...]:
    worse = [one.counts.name for one in judged if one.verdict == "worse"]
    better = [one.counts.name for one in judged if one.verdict == "better"]
    told = [
        f"{len(worse)} of {len(judged)} classes paid clearly{_named(worse)}; "
        f"{len(better)} got clearly better{_named(better)}.",
        "Both networks saw the same test images, so the interval is that of paired shares "
        f"(Newcombe 1998, method 10, {CONFIDENCE:.0%}). By chance alone about "
        f"{(1 - CONFIDENCE) * len(judged):.2g} of {len(judged)} intervals would not hold zero.",
    ]
    if unseen := num_classes - len(judged):
        told.append(f"{unseen} classes have no test image.")
    return tuple(told)


def _named(names: list[str]) -> str:
    return f" ({', '.join(names[:MAX_DRAWN])})" if names else ""


def _which(num_classes: int) -> str:
    half = MAX_DRAWN // 2
    if num_classes <= MAX_DRAWN:
        return "of each class"
    return f"of the {half} classes that lost most and the {half} that won most"


def _drawn(judged: list[_Judged]) -> list[_Judged]:
    half = MAX_DRAWN // 2
    return judged if len(judged) <= MAX_DRAWN else [*judged[:half], *judged[-half:]]


def _drawing(judged: list[_Judged], description: str) -> Markup:
    low = min(one.change.low for one in judged)
    scale = scale_of(min(low, 0), max(0, *(one.change.high for one in judged)))
    rows = tuple(
        Row(one.counts.name, _marks(one, scale), formats.signed_points(one.change.value))
        for one in judged
    )
    found = {one.verdict for one in judged}
    kinds = [(f"interval {_kind(name)}", words) for name, words in KEYS.items() if name in found]
    keys = legend((*kinds, ("change", "change"), ("zero", "zero")))
    return keys + draw_rows([Group("", rows)], description, "classes")


def _kind(verdict: str) -> str:
    """How its marks look."""
    return verdict.replace(" ", "-")


def _marks(one: _Judged, scale: Scale) -> tuple[Span | Point, ...]:
    kind, change = _kind(one.verdict), one.change
    return (
        Point(scale.share(0), "zero"),
        Span(scale.share(change.low), scale.share(change.high), f"interval {kind}"),
        Point(scale.share(change.value), f"change {kind}"),
    )


def _row(one: _Judged) -> tuple[str, ...]:
    counts, change = one.counts, one.change
    return (
        counts.name,
        formats.integer(counts.images),
        formats.percent(counts.dense_right / counts.images),
        formats.percent(counts.slim_right / counts.images),
        formats.signed_points(change.value),
        f"{100 * change.low:+.2f} to {100 * change.high:+.2f}",
        one.verdict,
    )

"""The section on the family of a run: accuracy over what its sizes cost."""

from collections.abc import Callable

from markupsafe import Markup

from compressor.report import formats
from compressor.report.chart import Axis, Line, draw_chart
from compressor.report.choice import draw_choice
from compressor.report.family_file import Family, Sized
from compressor.report.page import Plot, Section, Table
from compressor.report.rows import legend
from compressor.report.scale import scale_of, scale_of_shares

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "macs": ("MACs", formats.count),
    "params": ("Parameters", formats.count),
    "bytes": ("Bytes", formats.size),
    "latency_ms": ("Latency", formats.milliseconds),
}
"""Cost -> its name and how it is written."""


def family_section(family: Family | None) -> Section | None:
    """Each size with its costs and a drawing by each of them; ``None`` without a family."""
    if family is None or not family.members:
        return None
    epochs = f"{family.tune_epochs} epoch{'s' * (family.tune_epochs != 1)} of tuning"
    note = (
        f"{len(family.members)} sizes from the one search of this run, {epochs} each, timed "
        "together: median in ONNX Runtime at batch 1. A size is dominated by a cost if another has "
        f"no more of it and is at least as accurate on {family.judged_by} images{_caution(family)}."
    )
    description = "Accuracy on test images over what each size costs"
    panels = {name: _chart(family, cost, description) for cost, (name, _) in COSTS.items()}
    keys = legend((("dense", "dense"), ("slim", "a size"), ("dominated", "dominated")))
    plot = Plot(description, keys + draw_choice("Cost", "family-cost", panels))
    return Section("family", "Family", (note,), (plot,), (_table(family),))


def _caution(family: Family) -> str:
    if family.judged_by == "validation":
        return ""
    return (
        ", as not all were tuned and have an accuracy on validation images; choosing among them by "
        "that is choosing by test images"
    )


def _chart(family: Family, cost: str, description: str) -> Markup:
    name, text = COSTS[cost]
    named = {f"{member.share:g}": member for member in family.members}
    every = [family.dense, *family.members]
    accuracies = [one.accuracy.test for one in every]
    # Along the axis: a smaller size may take longer.
    dearer = sorted(named, key=lambda label: _point(named[label], cost)[0])
    best = [label for label in dearer if cost not in named[label].dominated]
    rest = [label for label in dearer if label not in best]
    lines = [
        Line((_point(family.dense, cost),), "dense", joined=False, labels=("dense",)),
        Line(tuple(_point(named[label], cost) for label in best), "slim", labels=tuple(best)),
        Line(
            tuple(_point(named[label], cost) for label in rest),
            "dominated",
            joined=False,
            labels=tuple(rest),
        ),
    ]
    x = Axis(name, scale_of(0, max(getattr(one, cost) for one in every), 4), text)
    y = Axis("Test accuracy", scale_of_shares(accuracies), formats.short_percent)
    return draw_chart(x, y, [line for line in lines if line.points], f"{description}: {name}")


def _point(one: Sized, cost: str) -> tuple[float, float]:
    return float(getattr(one, cost)), one.accuracy.test


def _table(family: Family) -> Table:
    rows = (
        ("dense", *_cells(family.dense), formats.NOTHING),
        *(
            (
                f"{member.share:g}",
                *_cells(member),
                ", ".join(COSTS[cost][0] for cost in member.dominated) or "none",
            )
            for member in family.members
        ),
    )
    names = (name for name, _ in COSTS.values())
    columns = ("Size", "Validation", "Test", *names, "Speed-up", "Interval", "Dominated by")
    return Table("The sizes and what they cost", columns, rows)


def _cells(one: Sized) -> tuple[str, ...]:
    validation = one.accuracy.validation
    speedup = one.speedup
    return (
        formats.NOTHING if validation is None else formats.percent(validation),
        formats.percent(one.accuracy.test),
        *(text(getattr(one, cost)) for cost, (_, text) in COSTS.items()),
        formats.factor(speedup.median),
        f"{formats.factor(speedup.low)} to {formats.factor(speedup.high)}",
    )

"""The comparison as a page and as plain values."""

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from compressor.compare.runs import Compared, Comparison
from compressor.report import formats
from compressor.report.chart import Axis, Line, draw_chart
from compressor.report.choice import draw_choice
from compressor.report.family import COSTS
from compressor.report.headline import engine_name
from compressor.report.page import Plot, Report, Section, Table
from compressor.report.rows import legend
from compressor.report.scale import scale_of, scale_of_shares

CERTIFIED = {True: "holds", False: "broken", None: "no bounds on record"}
NOT_SET = "not set"
KEYS = (("slim", "a run"), ("dominated", "dominated by another"))


def as_report(comparison: Comparison) -> Report:
    """The page of a comparison."""
    runs = comparison.runs
    best = [run.name for run in runs if not _dominated(comparison, run)]
    headline = f"{len(runs)} runs."
    if comparison.judged_by is not None:
        headline = f"{len(runs)} runs, {len(best)} of them dominated by no other."
    sections = (_figures(comparison), _certificates(comparison), _settings(comparison))
    return Report(
        title=f"{len(runs)} runs compared", headline=headline, facts=(), sections=sections
    )


def _dominated(comparison: Comparison, run: Compared) -> dict[str, tuple[Compared, ...]]:
    """Cost -> the runs that dominate this one by it; without costs by which none does."""
    found = {cost: comparison.dominators(run, cost) for cost in comparison.costs()}
    return {cost: others for cost, others in found.items() if others}


def _figures(comparison: Comparison) -> Section:
    description = "Accuracy on test images over what each slim network costs"
    panels = {COSTS[cost][0]: _chart(comparison, cost, description) for cost in comparison.costs()}
    keys = legend(KEYS if comparison.judged_by is not None else KEYS[:1])
    plot = Plot(description, keys + draw_choice("Cost", "compare-cost", panels))
    return Section("runs", "Runs", tuple(_notes(comparison)), (plot,), _tables(comparison))


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.judged_by is not None:
        yield (
            "A run is dominated by a cost if another has no more of it and is at least as accurate "
            f"on {comparison.judged_by} images, and better in one of the two. The numbers in the "
            "drawing are those of the table."
        )
    yield from comparison.notes


def _chart(comparison: Comparison, cost: str, description: str) -> Markup:
    name, text = COSTS[cost]
    numbered = [(str(number), run) for number, run in enumerate(comparison.runs, start=1)]
    dominated = [run for _, run in numbered if comparison.dominators(run, cost)]
    lines = []
    for kind in ("slim", "dominated"):
        chosen = [(n, run) for n, run in numbered if (run in dominated) == (kind == "dominated")]
        points = tuple(
            (comparison.cost(run, cost), run.record.summary.slim.accuracy) for _, run in chosen
        )
        labels = tuple(number for number, _ in chosen)
        lines.append(Line(points, kind, joined=False, labels=labels))
    accuracies = [run.record.summary.slim.accuracy for run in comparison.runs]
    most = max(comparison.cost(run, cost) for run in comparison.runs)
    x = Axis(name, scale_of(0, most, 4), text)
    y = Axis("Test accuracy", scale_of_shares(accuracies), formats.short_percent)
    return draw_chart(x, y, [line for line in lines if line.points], f"{description}: {name}")


def _tables(comparison: Comparison) -> tuple[Table, Table]:
    place = comparison.place
    time = () if place is None else (f"{engine_name(place[0])}, batch {place[1]} (p50)",)
    columns = (
        *("Run", "Validation", "Test", "Against its dense"),
        *("MACs", "Parameters", "Not zero", "Bytes", *time),
    )
    numbered = list(enumerate(comparison.runs, start=1))
    told = tuple(_told_row(comparison, number, run) for number, run in numbered)
    figures = tuple(_figures_row(comparison, number, run) for number, run in numbered)
    names = ("Run", "Recipe", "Method", "Seed", "Dominated by")
    return (
        Table("What was run", names, told, text_columns=len(names)),
        Table("Slim networks of the runs", columns, figures),
    )


def _told_row(comparison: Comparison, number: int, run: Compared) -> tuple[str, ...]:
    summary = run.record.summary
    dominators = _dominators(comparison, run)
    return (f"{number} {run.name}", summary.recipe, run.method, str(summary.seed), dominators)


def _figures_row(comparison: Comparison, number: int, run: Compared) -> tuple[str, ...]:
    summary = run.record.summary
    slim, validation = summary.slim, run.validation
    times = [] if comparison.place is None else [run.times(comparison.place).p50]
    return (
        f"{number} {run.name}",
        formats.NOTHING if validation is None else formats.percent(validation),
        formats.percent(slim.accuracy),
        formats.signed_points(slim.accuracy - summary.dense.accuracy),
        formats.count(slim.macs),
        formats.count(slim.params),
        formats.count(slim.nonzero_params),
        formats.size(slim.bytes),
        *map(formats.milliseconds, times),
    )


def _dominators(comparison: Comparison, run: Compared) -> str:
    if comparison.judged_by is None:
        return formats.NOTHING
    told = [
        f"{COSTS[cost][0]}: {', '.join(other.name for other in others)}"
        for cost, others in _dominated(comparison, run).items()
    ]
    return "; ".join(told) or "none"


def _certificates(comparison: Comparison) -> Section:
    rows = tuple(
        (
            run.name,
            formats.difference(run.record.summary.certificate.max_rel_diff_fp32),
            formats.difference(run.record.summary.certificate.max_rel_diff_fp64),
            formats.integer(run.record.summary.certificate.inputs),
            CERTIFIED[run.certified],
        )
        for run in comparison.runs
    )
    columns = ("Run", "float32", "float64", "Inputs", "Within its bounds")
    note = "Masked against stripped outputs, the largest relative difference of each run."
    table = Table("Certificates", columns, rows)
    return Section("certificates", "Certificates", (note,), tables=(table,))


def _settings(comparison: Comparison) -> Section:
    """Settings in which the runs differ; all others are the same in all of them."""
    flat = [dict(formats.flat(run.record.settings)) for run in comparison.runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = tuple(
        (key, *values)
        for key in keys
        if len(set(values := [settings.get(key, NOT_SET) for settings in flat])) > 1
    )
    title = "Settings that differ"
    if not rows:
        return Section("settings", title, ("All settings of the runs are the same.",))
    columns = ("Setting", *(run.name for run in comparison.runs))
    table = Table("Settings in which the runs differ", columns, rows, text_columns=len(columns))
    return Section("settings", title, tables=(table,))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values: ``runs``, ``judged_by``, ``latency``, ``notes``."""
    place = comparison.place
    return {
        "runs": [_run_json(comparison, run) for run in comparison.runs],
        "judged_by": comparison.judged_by,
        "latency": None if place is None else {"engine": place[0], "batch": place[1]},
        "notes": list(comparison.notes),
    }


def _run_json(comparison: Comparison, run: Compared) -> dict[str, Any]:
    summary = run.record.summary
    place = comparison.place
    certificate = summary.certificate.model_dump()
    return {
        "name": run.name,
        "run": str(run.folder),
        "recipe": summary.recipe,
        "method": run.method,
        "seed": summary.seed,
        "accuracy": {"validation": run.validation, "test": summary.slim.accuracy},
        "dense_accuracy": summary.dense.accuracy,
        "macs": summary.slim.macs,
        "params": summary.slim.params,
        "nonzero_params": summary.slim.nonzero_params,
        "bytes": summary.slim.bytes,
        "latency_ms": None if place is None else run.times(place).p50,
        "certificate": certificate | {"holds": run.certified},
        "dominated": {
            cost: [other.name for other in others]
            for cost, others in _dominated(comparison, run).items()
        },
    }

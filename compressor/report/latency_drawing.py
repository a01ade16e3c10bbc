"""Bars of latency: dense beside slim in each engine, with their percentiles."""

from markupsafe import Markup

from compressor.report import formats
from compressor.report.headline import engine_name
from compressor.report.rows import Group, Point, Row, Span, draw_rows, legend
from compressor.report.run_files import Network, Summary
from compressor.report.timings import Latency, Percentiles

KEYS = (
    *(("dense", "dense, median"), ("slim", "slim, median")),
    *(("p90", "90 % took no longer"), ("p99", "99 % took no longer")),
)


def latency_drawing(summary: Summary, latency: Latency, description: str) -> Markup:
    """Two bars for each engine and batch; each such pair has a scale of its own."""
    groups = [_group(summary, latency, engine, batch) for engine, batch in timed_places(summary)]
    return legend(KEYS) + draw_rows(groups, description, "latency")


def _group(summary: Summary, latency: Latency, engine: str, batch: int) -> Group:
    networks = {"dense": summary.dense, "slim": summary.slim}
    times = {
        name: found
        for name, network in networks.items()
        if (found := times_of(network, engine, batch)) is not None
    }
    longest = max(max(found.p50, found.p90, found.p99) for found in times.values())
    speedup = latency.speedup.get(engine, {}).get(batch)
    faster = "" if speedup is None else f", slim at {formats.factor(speedup.median)} the speed"
    rows = tuple(_row(name, found, longest) for name, found in times.items())
    return Group(f"{engine_name(engine)}, batch {formats.integer(batch)}{faster}", rows)


def _row(name: str, times: Percentiles, longest: float) -> Row:
    scale = longest or 1.0
    marks = (
        Span(0, times.p50 / scale, name),
        Point(times.p90 / scale, "p90"),
        Point(times.p99 / scale, "p99"),
    )
    return Row(name, marks, formats.milliseconds(times.p50))


def timed_places(summary: Summary) -> list[tuple[str, int]]:
    """Each engine and batch size in which the dense or the slim network was timed."""
    places = dict.fromkeys(
        (engine, batch)
        for network in (summary.dense, summary.slim)
        for engine, batches in network.latency_ms.items()
        for batch in sorted(batches)
    )
    return list(places)


def times_of(network: Network, engine: str, batch: int) -> Percentiles | None:
    """Of one network in one engine at one batch size, where it was timed."""
    return network.latency_ms.get(engine, {}).get(batch)

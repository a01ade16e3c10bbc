"""The section on time: dense against slim in each engine, and each file against dense PyTorch."""

from collections.abc import Iterator

from compressor.report import formats
from compressor.report.headline import engine_name
from compressor.report.latency_drawing import latency_drawing, timed_places, times_of
from compressor.report.page import Plot, Section, Table
from compressor.report.run_files import RunRecord, Summary
from compressor.report.timings import Chain, Latency, Percentiles, SpeedUp

PERCENTILES = ("p50", "p90", "p99")

FEW = "*"
"""Marks a p99 of too few samples."""

WIDENED = "slim fp16, onnxruntime"
"""The row of the file that ONNX Runtime's CPU provider widens to float32."""


def latency_section(run: RunRecord) -> Section:
    """Percentiles of dense and slim for each engine and batch, with the speed-up."""
    timing = Table(
        "How the times were taken",
        ("Key", "Value"),
        (*formats.flat(run.latency.method), *formats.flat(run.latency.environment)),
        text_columns=2,
        folded=True,
    )
    table = _latency_table(run.summary, run.latency)
    if not table.rows:
        return Section("latency", "Latency", ("No latency was measured in this run.",))
    chain = run.latency.chain
    tables = (table, timing) if chain is None else (table, _chain_table(chain), timing)
    description = "Time for a batch, dense beside slim; each engine and batch to its own scale"
    plot = Plot(description, latency_drawing(run.summary, run.latency, description))
    return Section("latency", "Latency", tuple(_notes(run)), (plot,), tables)


def _notes(run: RunRecord) -> Iterator[str]:
    """What must be known to read the tables."""
    yield (
        "Time for one whole batch. The speed-up is dense time over slim time: its median and the "
        "two ends of its interval; an interval that holds 1 shows no clear difference."
    )
    chain = run.latency.chain
    if not all(times.p99_reliable for times in _all_times(run)):
        yield f"A p99 with {FEW} is of too few samples to be relied on."
    if chain is None:
        return
    for why in dict.fromkeys(chain.unmeasured.values()):
        files = ", ".join(file for file, reason in chain.unmeasured.items() if reason == why)
        yield f"Not timed: {files}. Why: {why}."
    if any(WIDENED in links for links in chain.latency.values()):
        yield (
            "fp16 in ONNX Runtime on a CPU computes in float32: the file is smaller, not faster."
        )


def _all_times(run: RunRecord) -> Iterator[Percentiles]:
    """All that stands in the two tables."""
    for network in (run.summary.dense, run.summary.slim):
        for batches in network.latency_ms.values():
            yield from batches.values()
    if run.latency.chain is not None:
        for links in run.latency.chain.latency.values():
            yield from links.values()


def _chain_table(chain: Chain) -> Table:
    rows = tuple(
        (
            name,
            formats.integer(batch),
            *_percentiles(link),
            *_speedup(link.speedup),
        )
        for batch, links in sorted(chain.latency.items())
        for name, link in links.items()
    )
    columns = ("What, where", "Batch", *PERCENTILES, "Speed-up", "Interval")
    return Table(f"Against the {chain.reference}, all in turns", columns, rows)


def _latency_table(summary: Summary, latency: Latency) -> Table:
    dense, slim = summary.dense, summary.slim
    rows = tuple(
        (
            engine_name(engine),
            formats.integer(batch),
            *_percentiles(times_of(dense, engine, batch)),
            *_percentiles(times_of(slim, engine, batch)),
            *_speedup(latency.speedup.get(engine, {}).get(batch)),
        )
        for engine, batch in timed_places(summary)
    )
    percentiles = (f"{network} {name}" for network in ("Dense", "Slim") for name in PERCENTILES)
    columns = ("Engine", "Batch", *percentiles, "Speed-up", "Interval")
    return Table("Latency of a batch", columns, rows)


def _percentiles(times: Percentiles | None) -> tuple[str, str, str]:
    if times is None:
        return (formats.NOTHING, formats.NOTHING, formats.NOTHING)
    mark = "" if times.p99_reliable else FEW
    return (
        formats.milliseconds(times.p50),
        formats.milliseconds(times.p90),
        formats.milliseconds(times.p99) + mark,
    )


def _speedup(speedup: SpeedUp | None) -> tuple[str, str]:
    if speedup is None:
        return (formats.NOTHING, formats.NOTHING)
    interval = f"{formats.factor(speedup.low)} to {formats.factor(speedup.high)}"
    return (formats.factor(speedup.median), interval)

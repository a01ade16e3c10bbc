"""The record of timed files as a page of text."""

import io
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from compressor.bench.text_gpu import gpu_lines

NOTHING = "-"
"""Of a figure that the clock does not give."""

FEW = "*"
"""Marks a p99 of too few samples."""


def as_text(record: dict[str, Any], width: int) -> str:
    """A table of all subjects and what must be known to read it.

    Args:
        record: Of ``bench_files``.
        width: Of the page, in characters.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False
    )
    console.print(_table(record))
    for line in _notes(record):
        console.print(line)
    return stream.getvalue()


def _table(record: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("ms", overflow="fold")
    for name in ("p50", "p90", "p99", "mean", "min", "n", "images/s", "cv", "times as fast"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in record["subjects"]:
        latency, ratio = row["latency_ms"], row["speedup"]
        mark = "" if latency["p99_reliable"] else FEW
        table.add_row(
            row["name"],
            f"{latency['p50']:.4g}",
            f"{latency['p90']:.4g}",
            f"{latency['p99']:.4g}{mark}",
            f"{latency['mean']:.4g}",
            f"{latency['min']:.4g}",
            str(latency["samples"]),
            NOTHING if row["images_per_second"] is None else f"{row['images_per_second']:.4g}",
            f"{row['variation']:.1%}",
            _ratio(record, row["name"], ratio),
        )
    return table


def _ratio(record: dict[str, Any], name: str, ratio: dict[str, float]) -> str:
    if name == record["reference"]:
        return "1"
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def _precisions(record: dict[str, Any]) -> Iterator[str]:
    """Files that are not computed in what they are written in, or of which that is not known."""
    for row in record["subjects"]:
        told = row["precision"]
        if told["why"] is None:
            continue
        written = _counted(told["written"])
        if told["computed"] is None:
            yield f"{row['name']}, built from {written}: not known what runs: {told['why']}."
        else:
            computed = _counted(told["computed"])
            yield f"{row['name']}: written {written}, computed {computed}: {told['why']}."


def _counted(layers: dict[str, int]) -> str:
    return " and ".join(
        f"{number} layer{'' if number == 1 else 's'} in {name}" for name, number in layers.items()
    )


def _notes(record: dict[str, Any]) -> list[str]:
    method = record["method"]
    clock, threads = method["clock"], method["num_threads"]
    interval = method["interval"].partition(",")[0]
    trtexec = {engine["comparable_to_trtexec"] for engine in method["engines"].values()}
    lines = [
        f"Batch {method['batch_size']}, {threads} thread{'s' if threads > 1 else ''}; clock "
        f"{clock['name']}: {clock['says']}. Interleaved; in brackets the {interval} interval. "
        f"To trtexec: {'; '.join(sorted(trtexec))}."
    ]
    if refused := clock.get("realtime_refused_because"):
        lines.append(f"Real-time priority was not given ({refused}): this is plain wall time.")
    lines += [
        f"{row['name']} did not run as asked ({why}): such times hold each launch of a kernel."
        for row in record["subjects"]
        if (why := row["runner"].get("fallback"))
    ]
    lines += _precisions(record)
    lines += gpu_lines(record)
    if not all(row["latency_ms"]["p99_reliable"] for row in record["subjects"]):
        lines.append(f"{FEW} from too few samples to mean anything: more --rounds.")
    if not all(row["stable"] for row in record["subjects"]):
        lines.append(
            "The samples of some vary by more than 2.5 %: trust the ratios, not the milliseconds."
        )
    return lines

"""A diagnosis as a page of text."""

import io
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from compressor.doctor.diagnosis import Diagnosis, Row
from compressor.doctor.graphs import NETWORK
from compressor.doctor.layer_times import LayerTime
from compressor.report.formats import NOTHING, comparison, milliseconds, percent, three_digits

UNPLACED = 0.1
"""Share of the time, above which it is told that no layer can be given it."""

ROWS = 25
"""Layers in the table; the others are counted in one line."""

US_PER_MS = 1000


def as_text(diagnosis: Diagnosis, width: int) -> str:
    """The layers by their time, what holds it, and what would move it.

    Args:
        diagnosis: What was found.
        width: Of the page, in characters.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False
    )
    console.print(_headline(diagnosis))
    if unmeasured := diagnosis.method["unmeasured"]:
        console.print(f"Not measured: {unmeasured}.")
    for line in _reservations(diagnosis):
        console.print(line)
    console.print(_table(diagnosis.rows[:ROWS]))
    if rest := diagnosis.rows[ROWS:]:
        share = percent(sum(row.share for row in rest))
        console.print(f"{len(rest)} further layers hold {share} of the time (--json lists them).")
    console.print(_shares(diagnosis))
    for number, finding in enumerate(diagnosis.top, start=1):
        console.print(
            f"{number}. {finding.layer} holds {percent(finding.share)} of the time "
            f"({finding.kind}). {finding.advice}"
        )
    return stream.getvalue()


def _headline(diagnosis: Diagnosis) -> str:
    method = diagnosis.method
    verdict = comparison(diagnosis.dense_us, diagnosis.slim_us, ("faster", "slower"))
    return (
        f"{diagnosis.run}: {method['files']['slim']} against {method['files']['dense']}, both in "
        f"{method['precision']}: {percent(diagnosis.macs_share)} of the MACs, "
        f"{milliseconds(diagnosis.slim_us / US_PER_MS)} of kernels against "
        f"{milliseconds(diagnosis.dense_us / US_PER_MS)} dense ({verdict}), "
        f"{method['engine']}, batch {method['batch_size']}, {_where(method)}, "
        f"{_block(method)}."
    )


def _where(method: dict[str, Any]) -> str:
    if "gpu" in method:
        return str(method["gpu"]["name"])
    threads = method["num_threads"]
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _block(method: dict[str, Any]) -> str:
    if method["engine"] != "onnxruntime":
        return f"channels best in multiples of {method['block']}"
    return f"blocks of {method['block']} channels" if method["block"] else "no blocked layout"


def _reservations(diagnosis: Diagnosis) -> Iterator[str]:
    """What the figures do not speak of."""
    method, target = diagnosis.method, diagnosis.target_precision
    if target not in (None, method["precision"]):
        yield (
            f"The recipe's target is {target}, and these are the {method['precision']} files: in "
            f"{target} other layers may hold the time."
        )
    for name, share in method["unplaced_share"].items():
        if share > UNPLACED:
            yield (
                f"{percent(share)} of the {name} network's time is in layers that hold no node of "
                f"its file: it stands under {NETWORK}, and may be any layer's."
            )


def _table(rows: tuple[Row, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("class", no_wrap=True)
    for name in ("share", "slim us", "dense us", "channels", "of dense MACs", "of best rate"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        slim, dense = row.slim, row.dense
        table.add_row(
            row.name,
            row.kind or "removed",
            percent(row.share),
            _us(slim),
            _us(dense),
            _channels(slim or dense),
            percent(slim.macs / dense.macs) if slim and dense and dense.macs else NOTHING,
            percent(row.efficiency) if slim and slim.macs else NOTHING,
        )
    return table


def _us(layer: LayerTime | None) -> str:
    return NOTHING if layer is None else three_digits(layer.us)


def _channels(layer: LayerTime | None) -> str:
    if layer is None or layer.in_channels is None:
        return NOTHING
    return f"{layer.in_channels} > {layer.out_channels}"


def _shares(diagnosis: Diagnosis) -> str:
    limit = diagnosis.method["overhead_us"]
    return (
        f"{percent(diagnosis.overhead_share)} of the slim network's time is in layers whose "
        f"kernels take {limit:g} us or less, {percent(diagnosis.layout_share)} in changes of "
        "layout."
    )

"""The survey's rows as lines and as a page."""

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]

TITLES = {
    "torchvision": "torchvision, classification",
    "segmentation": "torchvision, segmentation",
    "timm": "timm, one network of each family",
}
SECONDS = 60.0
"""What a network should take at most; more is told on the page."""

PEAK_BYTES = 6e9
"""What a network should need at most; more is told on the page."""


def about(versions: Mapping[str, str], settings: Mapping[str, Any], num_old: int) -> dict[str, Any]:
    """Where the table comes from; ``num_old`` rows were measured on older sources."""
    return {
        "command": "tools/zoo",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **versions},
        "processors": os.cpu_count(),
        "settings": dict(settings),
        "num_old": num_old,
    }


def in_short(row: Row) -> str:
    """A row in one line of text."""
    if not row["stripped"]:
        return f"{row['model']}: not stripped: {row['reason']}"
    exporters = ", ".join(f"{name} {_exported(row, name)}" for name in row["onnx"])
    return (
        f"{row['model']}: stripped, {row['params_share']:.0%} of the parameters, float32 "
        f"{row['max_rel_diff_fp32']:.1g}, float64 {row['max_rel_diff_fp64']:.1g}, backward "
        f"{row.get('backward', '-')}, {exporters or 'not exported'}, "
        f"{row['processor_seconds']:.0f} s, {row['peak_bytes'] / 1e9:.1f} GB"
    )


def as_markdown(table: Mapping[str, Any]) -> str:
    """The table as a page."""
    about_it, rows = table["about"], table["rows"]
    numbers = ", ".join(f"{name} {number}" for name, number in about_it["versions"].items())
    lines = [
        "# Networks that are stripped exactly",
        "",
        f"`{about_it['command']}`, {about_it['date']}, {numbers}, {about_it['processors']} "
        "processors, one thread for each network.",
        "",
        "Weights are random, norm statistics shaken, images as small as each network allows. "
        "Differences are the largest between the stripped and the masked network, relative to the "
        "largest output: in float64 over half of the units of each coupling and two random "
        "structures, of which one leaves a coupling a single unit, in float32 over the half. The "
        "parameters left, the backward pass in training mode and the exporters are those of the "
        "half. Exported files are compared at batches of 1, 2 and 7. "
        "Time and peak memory are those of the whole process, exporters included; time is that of "
        "one processor, which is what a network takes on a machine with nothing else to do.",
        "",
    ]
    if about_it["num_old"]:
        lines += [f"{about_it['num_old']} of the rows were measured on older sources.", ""]
    for source, title in TITLES.items():
        chosen = [row for row in rows if row["source"] == source]
        if chosen:
            lines += [f"## {title}", "", _summary(chosen), "", *_table(chosen), ""]
            lines += _reasons(chosen)
    if table["not_measured"]:
        lines += ["## Not measured yet", "", ", ".join(table["not_measured"]) + "."]
    return "\n".join(lines).rstrip() + "\n"


def _summary(rows: Sequence[Row]) -> str:
    stripped = [row for row in rows if row["stripped"]]
    parts = [f"{len(stripped)} of {len(rows)} are stripped exactly"]
    parts += [
        f"{sum('max_rel_diff' in row['onnx'].get(name, {}) for row in stripped)} of them are "
        f"exported by the {name} exporter"
        for name in ("dynamo", "legacy")
    ]
    slowest = max(rows, key=lambda row: row["processor_seconds"])
    largest = max(rows, key=lambda row: row["peak_bytes"])
    slow = sum(row["processor_seconds"] > SECONDS for row in rows)
    large = sum(row["peak_bytes"] > PEAK_BYTES for row in rows)
    return (
        f"{', '.join(parts)}. The slowest is {slowest['model']} "
        f"({slowest['processor_seconds']:.0f} s), the "
        f"largest {largest['model']} ({largest['peak_bytes'] / 1e9:.1f} GB); {slow} take more than "
        f"{SECONDS:.0f} s, {large} more than {PEAK_BYTES / 1e9:.0f} GB."
    )


def _table(rows: Sequence[Row]) -> list[str]:
    return [
        "| network | pixels | stripped | form | couplings | kept whole | parameters left | float32 "
        "| float64 | backward | dynamo | legacy | s | GB |",
        "| --- " * 14 + "|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]


def _cells(row: Row) -> list[str]:
    backward = row.get("backward", "")
    return [
        row["model"],
        str(row["pixels"]),
        "yes" if row["stripped"] else "no",
        row.get("form", ""),
        str(row.get("couplings", "")),
        str(len(row["frozen"])) if "frozen" in row else "",
        f"{row['params_share']:.0%}" if "params_share" in row else "",
        _figure(row["max_rel_diff_fp32"]),
        _figure(row["max_rel_diff_fp64"]),
        backward if backward in ("", "ok") else "no",
        _exported(row, "dynamo"),
        _exported(row, "legacy"),
        f"{row['processor_seconds']:.0f}",
        f"{row['peak_bytes'] / 1e9:.1f}",
    ]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def _exported(row: Row, exporter: str) -> str:
    found = row["onnx"].get(exporter)
    if found is None:
        return ""
    return _figure(found["max_rel_diff"]) if "max_rel_diff" in found else "no"


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why something in these rows is no success, one line each."""
    lines = []
    for row in rows:
        if not row["stripped"]:
            lines.append(f"* {row['model']} is not stripped: {_plain(row['reason'])}")
        if row.get("backward", "ok") != "ok":
            lines.append(f"* {row['model']}, backward: {_plain(row['backward'])}")
        lines += [
            f"* {row['model']}, {name} exporter: {_plain(found['reason'])}"
            for name, found in row["onnx"].items()
            if "reason" in found
        ]
    return [*lines, ""] if lines else []


LONGEST_REASON = 200


def _plain(reason: str) -> str:
    """A reason that stays one line of a list, without marks of its own."""
    short = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
    return short.replace("|", "/").replace("*", "").replace("<", "(").replace(">", ")")

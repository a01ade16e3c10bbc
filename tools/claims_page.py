"""The claims' rows as text and as a page."""

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]

QUICK_NOTE = "a quick look: no evidence"


def about(command: str, versions: Mapping[str, str], minutes: float) -> dict[str, Any]:
    """Where the table comes from; ``minutes`` are those of all parts, kept ones too."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), **versions},
        "processors": os.cpu_count(),
        "minutes": round(minutes, 1),
    }


def answer(row: Row) -> str:
    """Whether the claim holds, in a word or two."""
    if row["holds"] is None:
        return "-"
    holds = "yes" if row["holds"] else "NO"
    return holds if row["gates"] else f"{holds} (reported only)"


def in_short(row: Row) -> str:
    """A row as lines of text: the claim, its condition, what was measured."""
    lines = [f"{row['claim']:4} holds: {answer(row)}, seeds: {row['seeds']}. {row['says']}"]
    lines.append(f"     condition: {row['condition']}")
    lines += [f"     {name}: {shown(name, value)}" for name, value in row["measured"].items()]
    lines += [f"     note: {row['note']}"] if row["note"] else []
    return "\n".join(lines)


def as_text(rows: Sequence[Row]) -> str:
    """All rows, and one line that sums them up."""
    return "\n".join([*map(in_short, rows), "", summary(rows)])


def summary(rows: Sequence[Row]) -> str:
    """How many claims hold, and which do not."""
    judged = [row for row in rows if row["holds"] is not None and row["gates"]]
    failed = [row["claim"] for row in judged if not row["holds"]]
    missing = [row["claim"] for row in rows if row["holds"] is None]
    parts = [f"{len(judged) - len(failed)} of {len(judged)} judged claims hold"]
    parts += [f"not: {', '.join(failed)}"] if failed else []
    parts += [f"not judged: {', '.join(missing)}"] if missing else []
    return "; ".join(parts) + "."


def shown(name: str, value: Any) -> str:
    """One measured value; shares and accuracies in percent, their differences in points."""
    if isinstance(value, dict):
        error = value["standard_error"]
        middle = _number(name, value["mean"])
        return middle if error is None else f"{middle} ± {_number(name, error)}"
    if isinstance(value, float):
        return _number(name, value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _number(name: str, value: float) -> str:
    if "gain" in name or "gap" in name:
        return f"{100 * value:.2f} points"
    if "accuracy" in name or "share" in name:
        return f"{100 * value:.2f} %"
    return f"{value:.4g}"


def as_markdown(table: Mapping[str, Any]) -> str:
    """The rows as a page."""
    about_it, rows = table["about"], table["rows"]
    numbers = ", ".join(f"{name} {number}" for name, number in about_it["versions"].items())
    lines = [
        "# Claims of the papers, in experiments of minutes",
        "",
        f"`{about_it['command']}`, {about_it['date']}, {numbers}, one thread, "
        f"{about_it['minutes']:g} minutes of one processor.",
        "",
        "Small data: digits of 8 x 8 pixels and MNIST-1D, accuracy of the last epoch on images "
        "that are not trained on; nothing is chosen by them. Means and standard errors over the "
        "seeds. The conditions were fixed before the experiments were run. Rows that are reported "
        "only decide nothing.",
        "",
        summary(rows),
        "",
        "| | claim | holds | condition | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['claim']} | {row['says']} | {answer(row)} | {row['condition']} | {row['seeds']} |"
        for row in rows
    ]
    for row in rows:
        lines += ["", f"## {row['claim']}", "", f"{row['how'][0].upper()}{row['how'][1:]}.", ""]
        lines += ["| measured | |", "| --- | --- |"]
        lines += [f"| {name} | {shown(name, value)} |" for name, value in row["measured"].items()]
        lines += ["", row["note"]] if row["note"] else []
    return "\n".join(lines) + "\n"

"""The table of searches of trained networks: means over the seeds, and how far ahead of rivals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds import as_points, as_share, compared, source_line

from compressor.files import write_json, write_text

Row = dict[str, Any]

SHARES = (0.5, 0.25)
OURS = "lam-2"
TITLES = {
    "dense": "dense, the teacher",
    "lam-2": "DessiLBI, `lam = 2`",
    "lam-0.1": "DessiLBI, `lam = 0.1`",
    "lam-0.3": "DessiLBI, `lam = 0.3`",
    "lam-1": "DessiLBI, `lam = 1`",
    "lam-4": "DessiLBI, `lam = 4`",
    "lam-0.3-kept": "DessiLBI, `lam = 0.3`, the search's weights kept",
    "lam-1-kept": "DessiLBI, `lam = 1`, the search's weights kept",
    "lam-1-uniform": "DessiLBI, `lam = 1`, uniform widths",
    "magnitude": "magnitude",
    "random": "random units, uniform widths",
}


def summary(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard error over the seeds, and of the gap that our row has over each."""
    rates = sorted(rows, key=lambda row: (-row["share"], row["tune_lr"] or 0.0))
    return compared(rates, ("share", "tune_lr"), list(TITLES), OURS)


def write_table(table: Row, docs: Path) -> None:
    """The table as JSON and as a page."""
    table = {**table, "rows": summary(table["networks"])}
    write_json(docs / f"given-{table['recipe']}.json", table)
    write_text(docs / f"given-{table['recipe']}.md", as_markdown(table))


def as_markdown(table: Row) -> str:
    """The table as a page."""
    lines = [
        f"# Searches of a trained network: {table['recipe']}",
        "",
        source_line(table["about"]),
        "",
        *[line for text in table["text"] for line in (text, "")],
        "Accuracy on the test images, mean and standard error over the seeds. All rows of a seed "
        "have the same epochs of search and of tuning, and the same dense network as teacher. The "
        f"last column: how far {TITLES[OURS]} is ahead at the same size and rate of tuning, in "
        "points, seed by seed.",
        "",
        "| size | rate of tuning | network | accuracy | MACs | `lam = 2` ahead by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        ahead = "" if row["ahead"] is None else as_points(row["ahead"])
        rate = "" if row["tune_lr"] is None else f"{row['tune_lr']:g}"
        lines.append(
            f"| {1 / row['share']:g}x | {rate} | {TITLES[row['row']]} | "
            f"{as_share(row['accuracy'])} | {row['macs_share']:.1%} | {ahead} |"
        )
    return "\n".join(lines) + "\n"

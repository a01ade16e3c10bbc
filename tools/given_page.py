"""The table of searches of trained networks: means over the seeds, and how far ahead of rivals."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds import as_points, as_share, mean_and_error, source_line

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
    ours = {_place(row): row["accuracy"] for row in rows if row["row"] == OURS}
    rates = sorted({row["tune_lr"] for row in rows if row["tune_lr"] is not None})
    found = []
    for share, rate in [(1.0, None), *((share, rate) for share in SHARES for rate in rates)]:
        for name in TITLES:
            some = [r for r in rows if (r["row"], r["share"], r["tune_lr"]) == (name, share, rate)]
            if not some:
                continue
            gaps = [ours[_place(r)] - r["accuracy"] for r in some if _place(r) in ours]
            found.append(
                {
                    "row": name,
                    "share": share,
                    "tune_lr": rate,
                    "seeds": len(some),
                    "accuracy": mean_and_error([r["accuracy"] for r in some]),
                    "ahead": mean_and_error(gaps) if gaps and name != OURS else None,
                    "macs_share": statistics.mean(r["macs_share"] for r in some),
                }
            )
    return found


def _place(row: Row) -> tuple[float, float | None, int]:
    """What two rows must have in common to be compared."""
    return row["share"], row["tune_lr"], row["seed"]


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
        *[line for text in table.get("text", ()) for line in (text, "")],
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

"""The table of sizes: means over the seeds, how far ahead of each rival, and the page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds import as_points, as_share, compared, made_by, mean_and_error, source_line

from compressor.files import write_json, write_text

Row = dict[str, Any]

SHARES = (0.5, 0.25, 0.125)
TITLES = {
    "dessilbi": "DessiLBI, one search",
    "magnitude": "magnitude",
    "random": "random units, uniform widths",
    "uniform": "uniform narrow, from scratch",
}


def summary(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard error over the seeds, and of the gap that DessiLBI has over each rival."""
    largest_first = sorted(rows, key=lambda row: -row["share"])
    return compared(largest_first, ("share",), list(TITLES), "dessilbi")


def told_by(options: argparse.Namespace) -> Row:
    """Where the table comes from."""
    return {"recipe": options.recipe, **made_by("tools/sizes.py", options)}


def write_table(table: Row, docs: Path) -> None:
    """The table as JSON and as a page."""
    name = f"sizes-{Path(table['about']['recipe']).stem}"
    write_json(docs / f"{name}.json", table)
    write_text(docs / f"{name}.md", as_markdown(table))


def as_markdown(table: Row) -> str:
    """The table as a page."""
    told = table["about"]
    dense = {r["seed"]: r["dense_accuracy"] for r in table["networks"] if "dense_accuracy" in r}
    lines = [
        f"# Sizes of {told['recipe']}",
        "",
        source_line(told),
        "",
        "Accuracy on the test images, mean and standard error over the seeds; the same number of "
        "epochs in every row. Ahead: DessiLBI's accuracy less the rival's of the same seed.",
        "",
    ]
    if dense:
        lines += [f"The dense network: {as_share(mean_and_error(list(dense.values())))}.", ""]
    lines += [
        "| MACs | network | accuracy | ahead, points | MACs reached | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        ahead = "" if row["ahead"] is None else as_points(row["ahead"])
        lines.append(
            f"| {row['share']:.1%} | {TITLES[row['row']]} | {as_share(row['accuracy'])} | {ahead} "
            f"| {row['macs_share']:.1%} | {row['seeds']} |"
        )
    if table["family"]:
        lines += ["", *family_lines(table["family"])]
    return "\n".join(lines) + "\n"


def family_lines(family: Row) -> list[str]:
    """What a whole family cost, and its curve."""
    cost = family["cost"]
    lines = [
        f"A family of {len(family['members'])} from the first seed's search took "
        f"{cost['macs_share']:.0%} of the training compute and {cost['seconds_share']:.0%} of the "
        "time of as many searches, tuning included on both sides. The compute is the figure: the "
        "time is that of this machine, with whatever else it did meanwhile.",
        "",
        "| size | test | MACs | parameters | latency, ms | dominated by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for member in family["members"]:
        lines.append(
            f"| {member['share']:g} | {member['accuracy']['test']:.2%} | "
            f"{member['macs_share']:.1%} | {member['params']:,} | {member['latency_ms']:.3g} | "
            f"{', '.join(member['dominated'])} |"
        )
    return lines

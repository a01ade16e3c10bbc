#!/usr/bin/env python3
"""Which rule makes the best order of a path: units and widths, judged on validation images.

For each seed one search; from its path, by each rule, networks of a few sizes, each tuned alike.
Chance and uniform widths are among the rules. Every network is a slice in a directory of its own
under ``runs/orders`` and is skipped when done, so the script goes on where it was stopped.
The table is written to ``docs/orders.md`` and ``docs/orders.json`` after each network.
"""

import argparse
import datetime
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from compressor.console import Console
from compressor.context import Shared
from compressor.files import read_json, write_json, write_text
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, Any]

RULES = (
    ("score", "cut"),
    ("score", "uniform"),
    ("random", "uniform"),
    ("random", "score"),
    ("score", "half"),
    ("score", "entries"),
    ("score", "per-mac"),
    ("dual", "cut"),
    ("filter", "cut"),
    ("scale", "cut"),
    ("entry", "cut"),
)
"""Order inside a coupling, and rule of the widths; the default first, then the controls."""

SHARES = (0.25, 0.12)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is not made yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no network later")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "orders")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    rows: list[Figures] = []
    for seed in range(options.seeds):
        source = searched(options, seed)
        shared = Shared()
        for order, widths in RULES:
            for share in SHARES:
                folder = options.out / f"seed{seed}" / f"{order}-{widths}-{share:g}"
                late = (time.monotonic() - started) / 60 > options.minutes
                if late and not (folder / "tune" / "history.json").is_file():
                    continue
                rows.append(made(source, folder, (order, widths, share), shared))
                say(f"seed {seed}: {rows[-1]}")
                table = {"about": about(options), "rows": summary(rows), "networks": rows}
                write_json(options.docs / "orders.json", table)
                write_text(options.docs / "orders.md", as_markdown(table))


def searched(options: argparse.Namespace, seed: int) -> Source:
    """The run of one seed, up to its search."""
    file = find_recipe(options.recipe)
    recipe = load_recipe(file, (*options.overrides, f"seed={seed}"))
    out = options.out / f"seed{seed}" / "search"
    folders = (file.parent, Path())
    run_recipe(recipe, Where(out, Console(), resume=True, model_folders=folders, until="train"))
    return Source.open(out)


def made(source: Source, folder: Path, rule: tuple[str, str, float], shared: Shared) -> Figures:
    """One network by one rule, tuned: its accuracy on validation images, and its widths."""
    order, widths, share = rule
    rules = (f"strip.order={order}", f"strip.widths={widths}")
    epochs = source.recipe.tune.epochs
    recipe = sliced_recipe(source.recipe, Size("keep_macs", share), epochs, rules)
    where = Where(folder, Console(quiet=True), resume=True, until="tune", shared=shared)
    run = slice_run(source, recipe, where)
    return {"seed": recipe.seed, "order": order, "widths": widths, "share": share, **figures(run)}


def figures(run: Run) -> Figures:
    """What a finished slice shows."""
    counts = read_json(run.path("strip", "counts.json"))
    history = read_json(run.path("tune", "history.json"))
    structure = read_json(run.path("strip", "structure.json"))["keep"]
    return {
        "accuracy": history[-1]["validation_accuracy"],
        "macs_share": counts["slim"]["macs"] / counts["dense"]["macs"],
        "kept": {name: len(entry["kept"]) for name, entry in structure.items()},
    }


def summary(rows: Sequence[Figures]) -> list[Figures]:
    """Mean and standard error of each rule and size over the seeds, and the gap to the default."""
    found = []
    for share in SHARES:
        default = {r["seed"]: r["accuracy"] for r in rows if rule_of(r) == (*RULES[0], share)}
        for order, widths in RULES:
            some = [r for r in rows if rule_of(r) == (order, widths, share)]
            if not some:
                continue
            gaps = [r["accuracy"] - default[r["seed"]] for r in some]
            found.append(
                {
                    "order": order,
                    "widths": widths,
                    "share": share,
                    "seeds": len(some),
                    "accuracy": mean_and_error([r["accuracy"] for r in some]),
                    "to_default": mean_and_error(gaps),
                    "macs_share": statistics.mean(r["macs_share"] for r in some),
                }
            )
    return found


def rule_of(row: Figures) -> tuple[str, str, float]:
    """Order, widths and share of a network."""
    return row["order"], row["widths"], row["share"]


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard error of it; 0 of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return statistics.mean(values), error


def about(options: argparse.Namespace) -> Figures:
    """Where the table comes from."""
    command = ["tools/orders.py", "--recipe", options.recipe, "--seeds", str(options.seeds)]
    for override in options.overrides:
        command += ["--set", override]
    return {
        "command": " ".join(command),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "processors": os.cpu_count(),
    }


def as_markdown(table: Figures) -> str:
    """The table as a page."""
    told = table["about"]
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    lines = [
        "# Orders and widths from one path",
        "",
        f"`{told['command']}`, {told['date']}, {versions}, {told['processors']} processors.",
        "",
        "Accuracy on validation images after tuning, which is the same for all, mean and standard "
        "error over the seeds. The rules of one seed share its search; the gap is that to the "
        "default rule of the same seed. Chance and uniform widths are controls.",
        "",
        "| size | order | widths | accuracy | to the default, points | MACs | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        (mean, error), (gap, spread) = row["accuracy"], row["to_default"]
        lines.append(
            f"| {row['share']:g} | {row['order']} | {row['widths']} | {mean:.2%} ± {error:.2%} | "
            f"{100 * gap:+.2f} ± {100 * spread:.2f} | {row['macs_share']:.1%} | {row['seeds']} |"
        )
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Which rule makes the best order of a path: units and widths, judged on validation images.

For each seed one search; from its path, by each rule, networks of a few sizes, each tuned alike.
Chance and uniform widths are among the rules. Every network is a slice in a directory of its own
under ``runs/orders`` and is skipped when done, so the script goes on where it was stopped.
The table is written to ``docs/orders.md`` and ``docs/orders.json`` after each network.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seeds import as_points, as_share, made_by, mean_and_error, say, source_line

from compressor.console import Console
from compressor.context import Shared
from compressor.errors import BudgetError
from compressor.files import read_json, write_json, write_text
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """How units and widths are chosen.

    Attributes:
        order: What ranks the units of a coupling.
        widths: What decides how much of each coupling stays.
        floor: ``strip.floor_share`` in place of the recipe's.
    """

    order: str
    widths: str
    floor: float | None = None

    @property
    def name(self) -> str:
        """For folders."""
        floor = "" if self.floor is None else f"-floor{self.floor:g}"
        return f"{self.order}-{self.widths}{floor}"

    def overrides(self) -> tuple[str, ...]:
        """What it changes of a recipe."""
        floor = () if self.floor is None else (f"strip.floor_share={self.floor}",)
        return (f"strip.order={self.order}", f"strip.widths={self.widths}", *floor)


RULES = (
    Rule("score", "cut"),
    Rule("score", "uniform"),
    Rule("random", "uniform"),
    Rule("random", "score"),
    Rule("score", "half"),
    Rule("score", "raw"),
    Rule("score", "per-mac"),
    Rule("score", "entries"),
    Rule("score", "entries-per-mac"),
    Rule("dual", "cut"),
    Rule("dual", "raw"),
    Rule("filter", "cut"),
    Rule("scale", "cut"),
    Rule("entry", "cut"),
    Rule("entry", "raw"),
    Rule("score", "cut", floor=0.0),
    Rule("score", "cut", floor=0.2),
)
"""The default first, then the controls; the floors last."""

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
    started, about = time.monotonic(), made_by("tools/orders.py", options)
    rows: list[Figures] = []
    for seed in range(options.seeds):
        source = searched(options, seed)
        shared = Shared()
        for rule in RULES:
            for share in SHARES:
                folder = options.out / f"seed{seed}" / f"{rule.name}-{share:g}"
                late = (time.monotonic() - started) / 60 > options.minutes
                if late and not (folder / "tune" / "history.json").is_file():
                    continue
                try:
                    rows.append(made(source, folder, (rule, share), shared))
                except BudgetError as failure:
                    # A floor of a rule may be above the smallest size: that row is not there.
                    say(f"seed {seed}: no {rule.name} at {share:g}: {failure}")
                    continue
                say(f"seed {seed}: {rows[-1]}")
                table = {"about": about, "rows": summary(rows), "networks": rows}
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


def made(source: Source, folder: Path, wanted: tuple[Rule, float], shared: Shared) -> Figures:
    """One network by one rule, tuned: its accuracy on validation images, and its widths."""
    rule, share = wanted
    epochs = source.recipe.tune.epochs
    recipe = sliced_recipe(source.recipe, Size("keep_macs", share), epochs, rule.overrides())
    where = Where(folder, Console(quiet=True), resume=True, until="tune", shared=shared)
    run = slice_run(source, recipe, where)
    return {"seed": recipe.seed, **asdict(rule), "share": share, **figures(run)}


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
        default = {r["seed"]: r["accuracy"] for r in rows if rule_of(r) == (RULES[0], share)}
        for rule in RULES:
            some = [r for r in rows if rule_of(r) == (rule, share)]
            if not some:
                continue
            gaps = [r["accuracy"] - default[r["seed"]] for r in some if r["seed"] in default]
            found.append(
                {
                    **asdict(rule),
                    "share": share,
                    "seeds": len(some),
                    "accuracy": mean_and_error([r["accuracy"] for r in some]),
                    "to_default": mean_and_error(gaps) if gaps else None,
                    "macs_share": statistics.mean(r["macs_share"] for r in some),
                }
            )
    return found


def rule_of(row: Figures) -> tuple[Rule, float]:
    """Rule and share of a network."""
    return Rule(row["order"], row["widths"], row["floor"]), row["share"]


def as_markdown(table: Figures) -> str:
    """The table as a page."""
    lines = [
        "# Orders and widths from one path",
        "",
        source_line(table["about"]),
        "",
        "Accuracy on validation images after tuning, which is the same for all, mean and standard "
        "error over the seeds. The rules of one seed share its search; the gap is that to the "
        "default rule of the same seed. Chance and uniform widths are controls. Floor: the share "
        "that every coupling keeps, where it is not the recipe's.",
        "",
        "| size | order | widths | floor | accuracy | to the default, points | MACs | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        gap = "" if row["to_default"] is None else as_points(row["to_default"])
        floor = "" if row["floor"] is None else f"{row['floor']:g}"
        lines.append(
            f"| {row['share']:g} | {row['order']} | {row['widths']} | {floor} | "
            f"{as_share(row['accuracy'])} | {gap} | "
            f"{row['macs_share']:.1%} | {row['seeds']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

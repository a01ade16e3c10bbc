#!/usr/bin/env python3
"""Every method at every level, from training to the exported network: a short run each.

    .venv/bin/python tools/methods.py [--data digits,mnist-5k] [--only METHOD-LEVEL,...] [--json]

A run that is done is not run again. One seed and few epochs: the table shows that each way through
the product works and what it costs, not which method is best (``docs/compare.md`` and
``docs/claims.md`` are for that). The table is written to ``docs/methods.md``, as JSON beside it.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from compressor.console import Console
from compressor.files import read_json, write_json, write_text
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.sparsity.catalog import METHODS

ROOT = Path(__file__).resolve().parent.parent
RUNS, DOCS = ROOT / "runs" / "methods", ROOT / "docs"
QUICK = ("bench.rounds=4", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0")
BUDGET = ("strip.keep_macs=0.4",)
DATA = {
    "digits": ("train.epochs=6", "tune.epochs=4"),
    "mnist-5k": ("data.source=mnist-5k", "train.epochs=2", "tune.epochs=2"),
}
"""What a data set changes of the recipe ``digits``."""

SETTINGS = {
    ("gates", "unit"): ("sparsity.strength=0.02",),
    ("itop", "unit"): ("sparsity.first_drop_share=0.2", "sparsity.stop_share=0.5"),
    ("itop", "weight"): ("sparsity.density=0.2",),
    ("magnitude", "weight"): ("sparsity.density=0.2", 'sparsity.schedule="cubic"'),
    ("magnitude", "2:4"): ('sparsity.schedule="cubic"',),
    ("optg", "weight"): ("sparsity.density=0.2",),
}
"""What a method needs, or suits a run of a few hundred steps."""

Row = dict[str, Any]


def overrides(data: str, method: str, level: str) -> tuple[str, ...]:
    """What the run changes of the recipe ``digits``."""
    levels = METHODS[method].levels
    at_level = (f'sparsity.level="{level}"',) if len(levels) > 1 else ()
    name = f'name="{data}-{method}-{level.replace(":", "-")}"'
    sparsity = (f'sparsity.method="{method}"', *at_level, *SETTINGS.get((method, level), ()))
    return (name, *DATA[data], *sparsity, *BUDGET, *QUICK)


def row_of(data: str, method: str, level: str) -> Row:
    """The figures of one run, which is made where it is not done."""
    recipe = load_recipe(find_recipe("digits"), overrides(data, method, level))
    folder = RUNS / recipe.name
    run_recipe(recipe, Where(out=folder, console=Console(), device="cpu", resume=True))
    summary = read_json(folder / "summary.json")
    dense, slim = summary["dense"], summary["slim"]
    return {
        "data": data,
        "method": method,
        "level": level,
        "settings": list(SETTINGS.get((method, level), ())),
        "dense_accuracy": dense["accuracy"],
        "slim_accuracy": slim["accuracy"],
        "macs_share": slim["macs"] / dense["macs"],
        "params_share": slim["params"] / dense["params"],
        "nonzero_share": slim["nonzero_params"] / dense["nonzero_params"],
        "max_rel_diff_fp32": summary["certificate"]["max_rel_diff_fp32"],
        "max_rel_diff_fp64": summary["certificate"]["max_rel_diff_fp64"],
        "onnx_accuracy": summary["verify"][0]["accuracy"],
        "seconds": sum(summary["seconds"].values()),
    }


def page(rows: Sequence[Row], about: Row) -> str:
    """The table as Markdown."""
    lines = [
        "# Every method at every level",
        "",
        f"`{about['command']}`, {about['date']}, "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + ".",
        "",
        "The recipe `digits` with the method, the level and 40 % of the MACs; digits: 6 epochs of "
        "search and 4 of tuning, mnist-5k: 2 and 2. One seed: it shows that each way ends with a "
        "stripped, certified, exported network, not which is best.",
        "",
        "| data | method | level | dense | slim | its ONNX file | MACs | parameters | not zero | "
        "stripped = masked, float32, float64 |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        shares = [row["macs_share"], row["params_share"], row["nonzero_share"]]
        accuracies = [row["dense_accuracy"], row["slim_accuracy"], row["onnx_accuracy"]]
        lines.append(
            f"| {row['data']} | {row['method']} | {row['level']} | "
            + " | ".join(f"{a:.2%}" for a in accuracies)
            + " | "
            + " | ".join(f"{share:.1%}" for share in shares)
            + f" | {row['max_rel_diff_fp32']:.0e}, {row['max_rel_diff_fp64']:.0e} |"
        )
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print and write the table."""
    parser = argparse.ArgumentParser(prog="tools/methods.py")
    parser.add_argument("--data", default=",".join(DATA), help="data sets")
    parser.add_argument("--only", help="METHOD-LEVEL,..., and no table in docs")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, nothing else")
    options = parser.parse_args(arguments)
    cases = [
        (data, method.name, level)
        for data in options.data.split(",")
        for method in METHODS.values()
        for level in method.levels
        if options.only is None or f"{method.name}-{level}" in options.only.split(",")
    ]
    if not cases:
        parser.error(f"--only {options.only} names no method with its level, as itop-weight does.")
    rows = [row_of(*case) for case in cases]
    about = {
        "command": " ".join([".venv/bin/python tools/methods.py", *(arguments or sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: metadata.version(name) for name in ("torch", "onnxruntime")},
    }
    if options.only is None and options.data == ",".join(DATA):
        write_json(DOCS / "methods.json", {**about, "rows": rows})
        write_text(DOCS / "methods.md", page(rows, about))
    print(json.dumps({"rows": rows}) if options.json else page(rows, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())

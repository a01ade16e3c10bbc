#!/usr/bin/env python3
"""Searches of a network that is trained already: DessiLBI's strengths beside magnitude and chance.

    .venv/bin/python tools/given.py --recipe RECIPE [--search N] [--tune N] [--tune-lr LR,...]

The recipe names the given weights, as ``compressor init`` writes it. Where its classes are others,
the dense network is trained first, with a new head; it is the teacher of every row. All rows of a
seed have the same epochs of search and of tuning. Each is a run under ``runs/given``, slices of
which are made for each size and rate of tuning, and is skipped when done. The table is written to
``docs/given-RECIPE.md``, as JSON beside it.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from given_page import SHARES, write_table
from seeds import made_by, say

from compressor.console import Console
from compressor.context import Context
from compressor.data.catalog import data_root
from compressor.files import read_json
from compressor.pipeline import Where, run_recipe
from compressor.recipe import Recipe, find_recipe, load_recipe
from compressor.run import Run
from compressor.stages.answers import answers_of

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]

KEPT = "ticket.weights='keep'"
SEARCHES = {
    "lam-2": ("sparsity.lam=2.0",),
    "lam-0.1": ("sparsity.lam=0.1",),
    "lam-0.3": ("sparsity.lam=0.3",),
    "lam-1": ("sparsity.lam=1.0",),
    "lam-4": ("sparsity.lam=4.0",),
    "lam-0.3-kept": ("sparsity.lam=0.3", KEPT),
    "lam-1-kept": ("sparsity.lam=1.0", KEPT),
    "lam-1-uniform": ("sparsity.lam=1.0", "strip.widths='uniform'"),
    "magnitude": ("sparsity={method='magnitude'}",),
    "random": (
        "sparsity={method='magnitude'}",
        "strip.order='random'",
        "strip.widths='uniform'",
    ),
}
"""What each row changes in the recipe."""


class Asked(NamedTuple):
    """One row of one seed, and all that it is made from."""

    recipe: str
    overrides: tuple[str, ...]
    tune_lrs: tuple[float, ...]
    out: Path
    device: str
    seed: int
    name: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is not made yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--search", type=int, default=5, help="epochs of the search")
    parser.add_argument("--tune", type=int, default=10, help="epochs of tuning")
    parser.add_argument("--tune-lr", default="0.0025,0.005", help="rates of tuning, with commas")
    parser.add_argument("--only", help="comma-separated rows, such as lam-2,magnitude")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--note", action="append", default=[], help="a paragraph for the page")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "given")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else list(SEARCHES)
    if strangers := sorted(set(wanted) - set(SEARCHES)):
        parser.error(f"--only {strangers[0]}: choose from {', '.join(SEARCHES)}")
    with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        # The dense network of a seed first: all its other rows stand on that.
        rows = [
            row
            for names in (["dense"], wanted)
            for found in pool.map(rows_of, asked_of(options, names), chunksize=1)
            for row in found
        ]
    about = made_by("tools/given.py", options)
    about["command"] += f" --search {options.search} --tune {options.tune}"
    table = {"about": about, "recipe": Path(options.recipe).stem, "text": options.note}
    write_table(table | {"networks": rows}, options.docs)


def asked_of(options: argparse.Namespace, names: Sequence[str]) -> list[Asked]:
    """The rows with these names, for every seed."""
    epochs = (f"train.epochs={options.search}", f"tune.epochs={options.tune}")
    rates = tuple(float(rate) for rate in options.tune_lr.split(","))
    out = options.out / Path(options.recipe).stem
    return [
        Asked(
            options.recipe,
            (*options.overrides, *epochs, f"seed={seed}"),
            rates,
            out / f"seed{seed}",
            options.device,
            seed,
            name,
        )
        for seed in range(options.seeds)
        for name in names
    ]


def rows_of(asked: Asked) -> list[Row]:
    """The networks of one row: one for each rate and size, or the dense one."""
    torch.set_num_threads(1)
    rows = [dense_row(asked)] if asked.name == "dense" else slim_rows(asked)
    for row in rows:
        say(f"{row}")
    return rows


def dense_row(asked: Asked) -> Row:
    """The dense network: given as it is, or trained with a new head."""
    context = made(asked, asked.out / "dense", (), "dense")
    accuracy, _ = answers_of(context, context.dense_model())
    return told(asked, 1.0, None) | {"accuracy": accuracy, "macs_share": 1.0}


def slim_rows(asked: Asked) -> list[Row]:
    """Accuracy and MACs of each slim network."""
    out = asked.out / asked.name
    Run(out).take_over(Run(asked.out / "dense"), ("inspect", "dense"))
    return [slim_row(asked, out, rate, share) for rate in asked.tune_lrs for share in SHARES]


def slim_row(asked: Asked, out: Path, rate: float, share: float) -> Row:
    """One of them."""
    changes = (*SEARCHES[asked.name], f"strip.keep_macs={share}", f"tune.lr={rate:g}")
    context = made(asked, out, changes, "tune")
    counts = read_json(context.run.path("strip", "counts.json"))
    accuracy, _ = answers_of(context, context.slim_model("tune"))
    macs_share = counts["slim"]["macs"] / counts["dense"]["macs"]
    return told(asked, share, rate) | {"accuracy": accuracy, "macs_share": macs_share}


def told(asked: Asked, share: float, rate: float | None) -> Row:
    """Which network a row tells of."""
    return {"row": asked.name, "share": share, "tune_lr": rate, "seed": asked.seed}


def made(asked: Asked, out: Path, changes: tuple[str, ...], until: str) -> Context:
    """A run as far as ``until``, made where it is not, and what it was made from."""
    recipe: Recipe = load_recipe(find_recipe(asked.recipe), (*asked.overrides, *changes))
    folders = (find_recipe(asked.recipe).parent, Path())
    where = Where(
        out, Console(quiet=True), asked.device, resume=True, model_folders=folders, until=until
    )
    return Context(
        recipe=recipe,
        run=run_recipe(recipe, where),
        console=where.console,
        device=asked.device,
        data_root=data_root(),
        model_folders=folders,
        resume=True,
        is_main=True,
    )


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A family of sizes from one search beside its rivals, at equal MACs and equal epochs.

For each seed one search by DessiLBI, and slices of its path; the same sizes by magnitude and of
random units from one ordinary search of the same length; and uniformly narrow networks trained from
scratch for all epochs, as slim ones are tuned. The first seed also makes a whole family, whose cost
is compared with a search for each of its sizes.

Every network is a run directory under ``runs/sizes`` and is skipped when done, so the script goes
on where it was stopped. The table is written to ``docs/sizes-RECIPE.md`` and ``.json`` after each.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from seeds import say
from sizes_page import SHARES, TITLES, summary, told_by, write_table

from compressor.console import Console
from compressor.context import Context, Shared
from compressor.count import count
from compressor.couplings.coupling import Couplings
from compressor.data.catalog import data_root
from compressor.files import fingerprint, read_json, write_json
from compressor.pipeline import Where, finished_stages, run_recipe
from compressor.recipe import Recipe, find_recipe, load_recipe
from compressor.run import Run
from compressor.sizes.family import FamilyPlan, make_family
from compressor.sizes.slices import SHARED_STAGES, Size, Source, sliced_recipe
from compressor.sparsity.base import Horizon
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.structure import Path as UnitsPath
from compressor.tasks.model import ModelSettings
from compressor.tasks.task import Objective, TaskLoss
from compressor.train.distill import Distillation
from compressor.train.loop import Job, Surroundings, train
from compressor.train.settings import OptimiserSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]

CONTROL = {
    "magnitude": (),
    "random": ("strip.order='random'", "strip.widths='uniform'"),
}
"""What the rivals of one ordinary search change when they strip."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is not made yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing later")
    parser.add_argument("--only", help="comma-separated rows, such as dessilbi,uniform,family")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "sizes")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else [*TITLES, "family"]
    if strangers := sorted(set(wanted) - {*TITLES, "family"}):
        parser.error(f"--only {strangers[0]}: choose from {', '.join([*TITLES, 'family'])}")
    ends = time.monotonic() + 60 * options.minutes
    rows: list[Row] = []
    table: Row = {"about": told_by(options), "family": None}
    for seed in range(options.seeds):
        seeded = Seeded(options, seed)
        for name in [name for name in TITLES if name in wanted]:
            for share in SHARES:
                if time.monotonic() > ends and not seeded.is_made(name, share):
                    continue
                rows.append(seeded.row(name, share))
                say(f"seed {seed}: {rows[-1]}")
                write_table(table | {"rows": summary(rows), "networks": rows}, options.docs)
        if seed == 0 and "family" in wanted and time.monotonic() < ends:
            table["family"] = seeded.family()
            write_table(table | {"rows": summary(rows), "networks": rows}, options.docs)


class Seeded:
    """All networks of one seed."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self._file = find_recipe(options.recipe)
        self._recipe = load_recipe(self._file, (*options.overrides, f"seed={seed}"))
        self._ordinary = load_recipe(
            self._file, (*options.overrides, f"seed={seed}", "sparsity={method='magnitude'}")
        )
        self._out = options.out / self._recipe.name / f"seed{seed}"
        self._shared = Shared()

    def is_made(self, name: str, share: float) -> bool:
        """Whether a network is there already."""
        folder = self._folder(name, share)
        return (folder / "verify" / "verify.json").is_file() or beside(folder, ".json").is_file()

    def row(self, name: str, share: float) -> Row:
        """Accuracy and MACs of one network."""
        made: Callable[[float], Row] = self._uniform if name == "uniform" else self._sliced(name)
        return {"row": name, "share": share, "seed": self._recipe.seed, **made(share)}

    def family(self) -> Row:
        """The record of a whole family of the search."""
        source = self._source(self._recipe, "search")
        return make_family(source, FamilyPlan(self._out / "family"), Console())

    def _folder(self, name: str, share: float) -> Path:
        return self._out / f"{name}-{share:g}"

    def _where(self, out: Path, until: str) -> Where:
        folders = (self._file.parent, Path())
        return Where(
            out,
            Console(),
            resume=True,
            model_folders=folders,
            until=until,
            shared=self._shared,
        )

    def _source(self, recipe: Recipe, name: str) -> Source:
        """The search of a recipe, run if it is not done; both have one dense network."""
        out = self._out / name
        if name != "search":
            base = self._source(self._recipe, "search").run
            Run(out).take_over(base, ("inspect", "dense"))
        run, folders = Run(out), (self._file.parent, Path())
        # Not run where there is nothing to do: several of these may read one search at a time.
        if "train" not in finished_stages(recipe, run, folders):
            run = run_recipe(recipe, self._where(out, "train"))
        return Source(run, recipe, folders, _path(run))

    def _sliced(self, name: str) -> Callable[[float], Row]:
        def made(share: float) -> Row:
            own = name == "dessilbi"
            recipe = self._recipe if own else self._ordinary
            source = self._source(recipe, "search" if own else "ordinary")
            changes = CONTROL.get(name, ())
            size = Size("keep_macs", share)
            sliced = sliced_recipe(recipe, size, recipe.tune.epochs, changes)
            run = Run(self._folder(name, share))
            run.take_over(source.run, SHARED_STAGES)
            run = run_recipe(sliced, self._where(run.folder, "verify"))
            counts = read_json(run.path("strip", "counts.json"))
            accuracy = read_json(run.path("verify", "verify.json"))["accuracy"]
            return {
                "accuracy": accuracy["slim"],
                "dense_accuracy": accuracy["dense"],
                "macs_share": counts["slim"]["macs"] / counts["dense"]["macs"],
            }

        return made

    def _uniform(self, share: float) -> Row:
        file = beside(self._folder("uniform", share), ".json")
        key = fingerprint([self._recipe.model_dump(mode="json"), share])
        if not file.is_file() or read_json(file)["key"] != key:
            write_json(file, {"key": key, "row": self._train_uniform(share)})
        row: Row = read_json(file)["row"]
        return row

    def _train_uniform(self, share: float) -> Row:
        base = self._context(self._recipe)
        dense_macs = count(base.fresh_model().eval(), base.example).macs
        model, macs = self._narrow(share * dense_macs)
        tune = self._recipe.tune
        shared = set(OptimiserSettings.model_fields)
        epochs = self._recipe.train.epochs + tune.epochs
        settings = TrainSettings(epochs=epochs, **tune.model_dump(include=shared))
        task = base.task_of(settings)
        objective: Objective = TaskLoss(task)
        if tune.teacher_weight:
            teacher = base.dense_model()
            objective = Distillation(task, teacher, tune.teacher_weight, tune.temperature)
        nothing = Dense(DenseSettings(), Horizon(num_steps=0, path_time=0.0, seed=0))
        job = Job(
            stage="uniform",
            model=model,
            task=task,
            objective=objective,
            sparsifier=nothing,
            couplings=Couplings(()),
            settings=settings,
            seed=self._recipe.seed,
        )
        place = beside(self._folder("uniform", share), ".checkpoint")
        train(job, Surroundings(console=Console(), checkpoints=place, resume=True))
        with torch.no_grad():
            accuracy = base.task.accuracy(model.eval(), "test")
        return {"accuracy": accuracy, "macs_share": macs / dense_macs}

    def _narrow(self, allowed: float) -> tuple[torch.nn.Module, int]:
        """The widest uniformly narrow network with at most these MACs."""
        for percent in range(100, 4, -1):
            recipe = self._recipe.model_copy(
                update={"model": narrowed(self._recipe, percent / 100)}
            )
            context = self._context(recipe)
            model = context.fresh_model()
            macs = count(model.eval(), context.example).macs
            if macs <= allowed:
                return model, macs
        raise ValueError(f"no width of {self._recipe.model.factory} has {allowed:g} MACs")

    def _context(self, recipe: Recipe) -> Context:
        return Context(
            recipe=recipe,
            run=Run(self._out / "search"),
            console=Console(),
            device="auto",
            data_root=data_root(),
            model_folders=(self._file.parent, Path()),
            resume=True,
            is_main=True,
        )


def beside(folder: Path, ending: str) -> Path:
    """A file by the name of ``folder``, whose share has a point in it that is no suffix."""
    return folder.with_name(folder.name + ending)


def _path(run: Run) -> UnitsPath:
    return UnitsPath.from_json(read_json(run.path("train", "path.json")))


def narrowed(recipe: Recipe, factor: float) -> ModelSettings:
    """The model's settings with all widths multiplied: by ``width``, or in the list ``widths``."""
    arguments = dict(recipe.model.arguments)
    if "widths" in arguments:
        widths = arguments["widths"]
        arguments["widths"] = [max(1, round(factor * width)) for width in widths]
    else:
        arguments["width"] = factor * float(arguments.get("width", 1.0))
    return recipe.model.model_copy(update={"arguments": arguments})


if __name__ == "__main__":
    main()

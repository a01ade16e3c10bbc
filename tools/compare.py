#!/usr/bin/env python3
"""DessiLBI beside its rivals at equal MACs and equal epochs: three seeds, means and errors.

Rows: the dense network; DessiLBI; magnitude and random units cut from an ordinary search of the
same length; and a uniformly narrow network trained from scratch for all epochs: alone, with the
settings of tuning and with those of the dense network, and with the dense network as teacher, as
the others have when they are tuned. One dense run per seed serves all.

Each run lies under ``runs/compare`` and is skipped when done, so the script goes on where it was
stopped. The table is written to ``docs/compare.md`` and ``docs/compare.json``.
"""

import argparse
import datetime
import math
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torchvision

from compressor.console import Console
from compressor.context import Context
from compressor.count import count
from compressor.couplings.coupling import Couplings
from compressor.files import fingerprint, read_json, write_json, write_text
from compressor.pipeline import Where, run_recipe
from compressor.recipe import Recipe, find_recipe, load_recipe
from compressor.run import Run
from compressor.sparsity.base import Horizon
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.summary import PASSES
from compressor.tasks.task import Objective, TaskLoss
from compressor.train.distill import Distillation
from compressor.train.loop import Job, Surroundings, steps_per_epoch, train
from compressor.train.settings import OptimiserSettings, TrainSettings

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, float]

METHODS = ("dessilbi", "magnitude", "random")
NARROW = ("uniform", "uniform-mirrored", "uniform-taught")
TITLES = {
    "dense": "dense",
    "dessilbi": "DessiLBI",
    "magnitude": "magnitude",
    "random": "random units",
    "uniform": "uniform narrow, from scratch",
    "uniform-mirrored": "uniform narrow, from scratch, as the dense network",
    "uniform-taught": "uniform narrow, from scratch, with teacher",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--narrow", default="[16, 32, 62]", help="widths of the uniform network")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "compare")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--only", help="comma-separated rows, such as dense,dessilbi")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else list(TITLES)
    if strangers := sorted(set(wanted) - set(TITLES)):
        parser.error(f"--only {strangers[0]}: choose from {', '.join(TITLES)}")
    # A table of some rows is not the published one.
    folder = options.out if options.only else options.docs
    results: dict[str, list[Row]] = {name: [] for name in TITLES if name in wanted}
    for seed in range(options.seeds):
        bench = Bench(options.recipe, [*options.overrides, f"seed={seed}"], options.out, seed)
        for name, row in bench.rows(options.narrow, list(results)):
            results[name].append(row)
            say(
                f"seed {seed}, {name}: {row['accuracy']:.2%} at {row['macs_share']:.1%} of the MACs"
            )
    table = {"rows": [summarise(name, rows) for name, rows in results.items()]}
    table["about"] = about(options)
    write_json(folder / "compare.json", table)
    write_text(folder / "compare.md", as_markdown(table))


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


class Bench:
    """All rows of one seed."""

    def __init__(self, recipe: str, overrides: list[str], out: Path, seed: int) -> None:
        self._file = find_recipe(recipe)
        self._overrides = overrides
        self._out = out / f"seed{seed}"

    def rows(self, narrow: str, wanted: list[str]) -> list[tuple[str, Row]]:
        """The wanted rows, run where they are not done."""
        made: dict[str, Callable[[], Row]] = {
            "dense": self._dense,
            **{name: lambda name=name: self._method(name) for name in METHODS},
            **{name: lambda name=name: self._uniform(name, narrow) for name in NARROW},
        }
        return [(name, made[name]()) for name in wanted]

    def _recipe(self, *more: str) -> Recipe:
        return load_recipe(self._file, (*self._overrides, *more))

    def _where(self, out: Path, until: str) -> Where:
        console = Console()
        return Where(out, console, resume=True, model_folders=(self._file.parent,), until=until)

    def _base(self) -> Run:
        return run_recipe(self._recipe(), self._where(self._out / "dense", "dense"))

    def _method(self, name: str) -> Row:
        out = self._out / name
        if not (out / "manifest.json").is_file():
            shutil.copytree(self._base().folder, out, dirs_exist_ok=True)
        recipe = self._recipe(f"sparsity={{method = '{name}'}}")
        run = run_recipe(recipe, self._where(out, "verify"))
        counts = read_json(run.path("strip", "counts.json"))
        compute = {stage: read_json(run.path(stage, "compute.json")) for stage in ("train", "tune")}
        dense, slim = counts["dense"]["macs"], counts["slim"]["macs"]
        return {
            "accuracy": read_json(run.path("verify", "verify.json"))["accuracy"]["slim"],
            "macs_share": slim / dense,
            "training_macs": PASSES
            * (dense * compute["train"]["images"] + slim * compute["tune"]["images"])
            + dense * compute["tune"]["teacher_images"],
        }

    def _dense(self) -> Row:
        context = self._context(self._base(), self._recipe())
        images = read_json(context.run.path("dense", "compute.json"))["images"]
        macs = count(context.dense_model(), context.example).macs
        accuracy = context.task.accuracy(context.dense_model(), "test")
        return {
            "accuracy": accuracy,
            "macs_share": 1.0,
            "training_macs": PASSES * macs * images,
        }

    def _uniform(self, name: str, narrow: str) -> Row:
        file = self._out / f"{name}.json"
        settings = self._recipe(f"model.arguments.widths={narrow}").model_dump(mode="json")
        key = fingerprint(settings)
        if not file.is_file() or read_json(file)["key"] != key:
            write_json(file, {"key": key, "row": self._train_uniform(name, narrow)})
        return read_json(file)["row"]

    def _train_uniform(self, name: str, narrow: str) -> Row:
        base = self._context(self._base(), self._recipe())
        recipe = self._recipe(f"model.arguments.widths={narrow}")
        model = self._context(base.run, recipe).fresh_model()
        settings = _narrow_settings(name, recipe)
        task = base.task_of(settings)
        objective: Objective = TaskLoss(task)
        images = steps_per_epoch(task, settings) * settings.epochs * settings.batch_size
        teacher_images = 0
        if name == "uniform-taught":
            tune = recipe.tune
            taught = Distillation(task, base.dense_model(), tune.teacher_weight, tune.temperature)
            objective, teacher_images = taught, taught.teacher_images(images)
        self._train(name, model, base, objective, settings)
        macs, dense_macs = (count(m, base.example).macs for m in (model.eval(), base.dense_model()))
        with torch.no_grad():
            accuracy = base.task.accuracy(model, "test")
        return {
            "accuracy": accuracy,
            "macs_share": macs / dense_macs,
            "training_macs": PASSES * macs * images + dense_macs * teacher_images,
        }

    def _train(
        self,
        name: str,
        model: torch.nn.Module,
        base: Context,
        objective: Objective,
        settings: TrainSettings,
    ) -> None:
        job = Job(
            stage=name,
            model=model,
            task=base.task_of(settings),
            objective=objective,
            sparsifier=Dense(DenseSettings(), Horizon(num_steps=0, path_time=0.0, seed=0)),
            couplings=Couplings(()),
            settings=settings,
            seed=base.recipe.seed,
        )
        train(job, Surroundings(console=Console()))

    def _context(self, run: Run, recipe: Recipe) -> Context:
        from compressor.data.catalog import data_root

        return Context(
            recipe=recipe,
            run=run,
            console=Console(),
            device="auto",
            data_root=data_root(),
            model_folders=(self._file.parent,),
            resume=True,
            is_main=True,
        )


def _narrow_settings(name: str, recipe: Recipe) -> TrainSettings:
    """How a narrow network is trained: for all epochs, as slim ones are tuned or as the dense one.

    Which suits it better is not known beforehand, so there is a row for each.
    """
    if name == "uniform-mirrored":
        return recipe.dense_settings()
    epochs = recipe.train.epochs + recipe.tune.epochs
    shared = set(OptimiserSettings.model_fields)
    return TrainSettings(epochs=epochs, **recipe.tune.model_dump(include=shared))


def summarise(name: str, rows: list[Row]) -> dict[str, object]:
    """Mean and standard error of each figure over the seeds."""
    accuracies = [row["accuracy"] for row in rows]
    error = statistics.stdev(accuracies) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
    return {
        "row": name,
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_standard_error": error,
        "accuracies": accuracies,
        "macs_share": statistics.mean(row["macs_share"] for row in rows),
        "training_macs": statistics.mean(row["training_macs"] for row in rows),
        "seeds": len(rows),
    }


def about(options: argparse.Namespace) -> dict[str, object]:
    """Where the table comes from."""
    command = ["tools/compare.py", "--recipe", options.recipe, "--seeds", str(options.seeds)]
    command += ["--narrow", f"'{options.narrow}'"]
    for override in options.overrides:
        command += ["--set", override]
    return {
        "command": " ".join(command),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "processors": os.cpu_count(),
    }


def as_markdown(table: dict) -> str:
    """The table as a page."""
    about_it = table["about"]
    versions = ", ".join(f"{name} {number}" for name, number in about_it["versions"].items())
    lines = [
        "# DessiLBI beside its rivals",
        "",
        f"`{about_it['command']}`, {about_it['date']}, {versions}, "
        f"{about_it['processors']} processors.",
        "",
        "Accuracy on the test images, mean and standard error over the seeds. Training compute "
        "counts forward and backward as three forward passes, and the teacher's forward passes, "
        "without what the teacher's own training cost.",
        "",
        "| network | accuracy | each seed | MACs | training compute, TMACs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        each = ", ".join(f"{accuracy:.2%}" for accuracy in row["accuracies"])
        lines.append(
            f"| {TITLES[row['row']]} | {row['accuracy_mean']:.2%} ± "
            f"{row['accuracy_standard_error']:.2%} | {each} | {row['macs_share']:.1%} | "
            f"{row['training_macs'] / 1e12:.2f} |"
        )
    lines += [
        "",
        "Narrow networks were trained with tuning's settings from the first epoch, except in the",
        "row that says otherwise: those of the dense network have mirror images too.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

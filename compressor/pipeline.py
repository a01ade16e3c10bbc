"""The stages in their order, and what each is made from."""

import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.state import PartialState

from compressor import stages
from compressor.bench.environment import environment
from compressor.console import Console
from compressor.data.catalog import data_root
from compressor.files import write_json
from compressor.recipe import Recipe
from compressor.run import Run
from compressor.stages import Context
from compressor.train.device import Device


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: Its folder and its command.
        work: What it does.
        made_from: Stages whose files it reads.
        sections: Sections of the recipe that it depends on, beside seed, model and data.
        everywhere: Whether every process takes part (training), or only the first.
    """

    name: str
    work: Callable[[Context, Path], None]
    made_from: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    everywhere: bool = False


STAGES = (
    Stage("inspect", stages.inspect, sections=("export",)),
    Stage("dense", stages.dense, ("inspect",), ("task", "dense", "train", "tune"), everywhere=True),
    Stage("train", stages.search, ("inspect",), ("task", "sparsity", "train"), everywhere=True),
    Stage("strip", stages.strip, ("train",), ("strip",)),
    Stage("tune", stages.tune, ("strip", "dense"), ("task", "tune"), everywhere=True),
    Stage("export", stages.export, ("tune", "dense"), ("export",)),
    Stage("verify", stages.verify, ("train", "strip", "export")),
    Stage("bench", stages.bench, ("export",), ("bench",)),
    Stage("report", stages.report, ("verify", "bench"), ("name",)),
)


@dataclass(frozen=True)
class Where:
    """Where and how a recipe is run.

    Attributes:
        out: The run directory.
        console: Whom to tell.
        device: ``auto`` takes a GPU where there is one.
        resume: Go on inside an unfinished training stage instead of starting it again.
        model_folders: Where factory files are looked for.
        until: Last stage to run, or None for all.
    """

    out: Path
    console: Console
    device: Device = "auto"
    resume: bool = False
    model_folders: tuple[Path, ...] = (Path(),)
    until: str | None = None


def default_out(recipe: Recipe) -> Path:
    """A new run directory under ``runs``."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{recipe.name}-{now}-{uuid.uuid4().hex[:6]}"


def run_recipe(recipe: Recipe, where: Where) -> Run:
    """Run the stages of ``recipe`` that are not done yet, up to ``where.until``.

    Raises:
        CompressorError: Whatever a stage finds wrong.
    """
    processes = PartialState(cpu=where.device == "cpu")
    console = where.console if processes.is_main_process else Console(quiet=True)
    run = Run(where.out)
    context = Context(
        recipe=recipe,
        run=run,
        console=console,
        device=where.device,
        data_root=data_root(),
        model_folders=where.model_folders,
        resume=where.resume,
        is_main=processes.is_main_process,
    )
    if processes.is_main_process:
        _write_head(recipe, run)
    for stage in STAGES:
        processes.wait_for_everyone()
        _run_stage(stage, context)
        if stage.name == where.until:
            break
    return run


def _write_head(recipe: Recipe, run: Run) -> None:
    settings = recipe.model_dump(mode="json")
    write_json(run.folder / "settings.json", settings)
    write_json(run.folder / "environment.json", environment())


def _run_stage(stage: Stage, context: Context) -> None:
    run = context.run
    run.reread()
    key = run.key(_settings(stage, context.recipe), stage.made_from)
    if run.is_done(stage.name, key):
        context.console.say(f"{stage.name}: done before, unchanged")
        return
    if not context.is_main:
        if stage.everywhere:
            stage.work(context, run.partial(stage.name))
        return
    if run.was_started(stage.name, key) and not context.resume:
        context.console.say(f"{stage.name}: starts again; --resume goes on where it was stopped")
        run.clear(stage.name)
    run.log("stage", {"stage": stage.name, "state": "started"})
    with run.writing(stage.name, key, stage.made_from) as folder:
        stage.work(context, folder)
    run.log("stage", {"stage": stage.name, "state": "done"})


def _settings(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    sections = {"seed", "model", "data", *stage.sections}
    return recipe.model_dump(mode="json", include=sections)

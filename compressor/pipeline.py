"""The stages in their order, and what each is made from."""

import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

from compressor.bench.environment import environment
from compressor.console import Console
from compressor.context import Context, Shared
from compressor.data.catalog import data_root
from compressor.files import write_json
from compressor.recipe import Recipe
from compressor.run import Run
from compressor.stages import building, delivery, growing, stripping, training
from compressor.stages.keys import also_from, inputs_of, settings_of
from compressor.stages.ready import check_here
from compressor.train.device import Device, on_cpu

PLACES_FILE = "places.json"
"""Where the files lay that a run read beside its recipe."""

PATIENCE = datetime.timedelta(days=7)
"""How long other processes wait for the first one, which strips, exports and times alone."""


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: Its folder and its command.
        work: What it does.
        made_from: Stages whose files it reads.
        sections: Sections of the recipe that it depends on, beside seed, model and data.
        everywhere: Whether every process takes part (training), or only the first.
        on_top: Files that it writes into the run directory itself.
    """

    name: str
    work: Callable[[Context, Path], None]
    made_from: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    everywhere: bool = False
    on_top: tuple[str, ...] = ()


WHOLE_RECIPE = tuple(name for name in Recipe.model_fields if name not in ("seed", "model", "data"))
"""Sections of what holds the recipe itself."""

STAGES = (
    Stage("inspect", stripping.inspect, sections=("export",)),
    # No file of inspect is read by training; it comes first since it is quick to find fault.
    Stage(
        "dense",
        training.dense,
        sections=("task", "dense"),
        everywhere=True,
    ),
    Stage("train", growing.train, sections=("task", "sparsity", "train"), everywhere=True),
    Stage("strip", stripping.strip, ("train",), ("strip", "target")),
    Stage("tune", training.tune, ("strip", "dense"), ("task", "tune"), everywhere=True),
    Stage("export", delivery.export, ("tune", "dense"), ("export", "precision")),
    Stage("verify", delivery.verify, ("train", "strip", "export")),
    Stage("build", building.build, ("export",), ("tensorrt",)),
    Stage("bench", delivery.bench, ("export", "build"), ("bench", "precision")),
    Stage(
        "package",
        delivery.package,
        ("strip", "tune", "export", "verify", "bench"),
        sections=WHOLE_RECIPE,
    ),
    Stage("report", delivery.report, ("verify", "bench"), ("name",), on_top=delivery.REPORT_FILES),
)


@dataclass(frozen=True)
class Given:
    """What is done in a stage instead of its own work.

    Attributes:
        work: What is done; it writes what the stage's own work would have.
        made_of: What it depends on beside the recipe, as JSON; part of the stage's key.
    """

    work: Callable[[Context, Path], None]
    made_of: Any


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
        shared: What other runs of the same network have found before.
        given: What stands in for the work of a stage, by its name.
    """

    out: Path
    console: Console
    device: Device = "auto"
    resume: bool = False
    model_folders: tuple[Path, ...] = (Path(),)
    until: str | None = None
    shared: Shared = field(default_factory=Shared)
    given: Mapping[str, Given] = field(default_factory=dict)


def default_out(recipe: Recipe) -> Path:
    """A new run directory under ``runs``."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{recipe.name}-{now}-{uuid.uuid4().hex[:6]}"


def run_recipe(recipe: Recipe, where: Where) -> Run:
    """Run the stages of ``recipe`` that are not done yet, up to ``where.until``.

    Started by ``torchrun`` or ``accelerate launch``, every process calls this, and all return when
    the last stage is done.

    Raises:
        CompressorError: Whatever a stage finds wrong.
    """
    processes = PartialState(cpu=on_cpu(where.device), timeout=PATIENCE)
    is_main = processes.is_main_process
    # Of a new directory each process would have made up its own name.
    out = Path(broadcast_object_list([str(where.out)])[0])
    with processes.main_process_first():
        run = Run(out)
    ahead = _stages_until(where.until)
    context = Context(
        recipe=recipe,
        run=run,
        console=where.console if is_main else Console(quiet=True),
        device=where.device,
        data_root=data_root(),
        model_folders=where.model_folders,
        resume=where.resume,
        is_main=is_main,
        shared=where.shared,
        ahead=frozenset(stage.name for stage in ahead if stage.name not in where.given),
    )
    with run.locked() if is_main else nullcontext():
        work = _work(recipe, where.model_folders, ahead, where.given)
        if is_main:
            check_here(recipe, _to_do(run, work) - set(where.given))
            _write_head(recipe, run, where)
        for stage, settings in work:
            processes.wait_for_everyone()
            _run_stage(stage, context, settings, processes)
        processes.wait_for_everyone()
    return run


def finished_stages(
    recipe: Recipe, run: Run, model_folders: tuple[Path, ...] = (Path(),)
) -> list[str]:
    """Names of the stages, in their order, that ``run`` has finished by this very recipe.

    A stage counts if running the recipe there would not do it again: its settings, the files that
    the recipe names and the stages that it is made from are those that it was finished with. That
    its own files are still as it wrote them is not looked at; ``Run.take_over`` does that.

    Args:
        recipe: What would be run.
        run: Where.
        model_folders: Where its factory file would be looked for.
    """
    work = _work(recipe, model_folders, STAGES)
    to_do = _to_do(run, work)
    return [stage.name for stage, _ in work if stage.name not in to_do]


def is_first_process() -> bool:
    """Whether this process is the one that tells and writes, or the only one."""
    return bool(PartialState().is_main_process)


def _stages_until(last: str | None) -> tuple[Stage, ...]:
    names = [stage.name for stage in STAGES]
    return STAGES if last is None else STAGES[: names.index(last) + 1]


def _work(
    recipe: Recipe,
    model_folders: tuple[Path, ...],
    stages: Sequence[Stage],
    given: Mapping[str, Given] = MappingProxyType({}),
) -> list[tuple[Stage, dict[str, Any]]]:
    """The stages, with what stands in for their work, each with all that its key is made of."""
    inputs, work = inputs_of(recipe, model_folders), []
    for one in stages:
        stage = replace(one, made_from=(*one.made_from, *also_from(one.name, recipe)))
        settings = settings_of(stage.name, stage.sections, recipe) | {"inputs": inputs}
        if (instead := given.get(stage.name)) is None:
            work.append((stage, settings))
        else:
            work.append((replace(stage, work=instead.work), settings | {"given": instead.made_of}))
    return work


def _to_do(run: Run, work: Sequence[tuple[Stage, dict[str, Any]]]) -> set[str]:
    """Names of the stages that are not done yet, and of those made from them, which may change."""
    run.reread()
    found: set[str] = set()
    for stage, settings in work:
        if not found.isdisjoint(stage.made_from) or not run.was_finished(
            stage.name, run.key(settings, stage.made_from)
        ):
            found.add(stage.name)
    return found


def _write_head(recipe: Recipe, run: Run, where: Where) -> None:
    settings, data = recipe.model_dump(mode="json"), recipe.data.path
    places = {
        "model_folders": [str(folder.resolve()) for folder in where.model_folders],
        "data": None if data is None else str(Path(data).expanduser().resolve()),
    }
    device = "cpu" if on_cpu(where.device) else "cuda"
    write_json(run.folder / "settings.json", settings)
    write_json(run.folder / "environment.json", environment() | {"device": device})
    # Not with the environment, which goes into packages: places on a disk are nobody's business.
    write_json(run.folder / PLACES_FILE, places)


def _run_stage(
    stage: Stage, context: Context, settings: dict[str, Any], processes: PartialState
) -> None:
    run = context.run
    run.reread()
    key = run.key(settings, stage.made_from)
    if run.was_finished(stage.name, key):
        if not (changed := run.changed_files(stage.name)):
            context.console.say(f"{stage.name}: done before, unchanged")
            return
        if context.is_main:
            context.console.warn(
                f"{run.folder / changed[0]} is not as {stage.name} wrote it; the stage runs again."
            )
    if not context.is_main:
        if stage.everywhere:
            # The first process clears what a killed attempt left, or finds its checkpoint there.
            processes.wait_for_everyone()
            stage.work(context, run.partial(stage.name))
        return
    if run.was_started(stage.name, key) and not context.resume:
        context.console.say(f"{stage.name}: starts again; --resume goes on where it was stopped")
        run.clear(stage.name)
    run.log("stage", {"stage": stage.name, "state": "started"})
    with run.writing(stage.name, key, stage.made_from, stage.on_top) as folder:
        if stage.everywhere:
            processes.wait_for_everyone()
        stage.work(context, folder)
    run.log("stage", {"stage": stage.name, "state": "done"})

"""Stages that train: the dense reference, the search, the tuning of the slim network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from compressor.context import Context
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.files import write_json
from compressor.sparsity.base import Horizon
from compressor.sparsity.catalog import build_sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.held import Held
from compressor.stages.early import check_budget
from compressor.stages.given import measure_given
from compressor.stages.ticket import search_keeping
from compressor.stages.weight_level import live_support, zero_outside_
from compressor.strip.budget import Cost
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.support import SupportWatch, stop_rule, to_keep_more
from compressor.tasks.task import Objective, Task, TaskLoss
from compressor.train.checkpoint import save_weights
from compressor.train.distill import Distillation, Stages
from compressor.train.features import Features
from compressor.train.loop import Job, Record, steps_per_epoch, train
from compressor.train.mask_file import MASKS_FILE, save_masks
from compressor.train.masking import some_inputs
from compressor.train.norms import reestimate_norms
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings
from compressor.train.stopping import StopRule


def dense(context: Context, folder: Path) -> None:
    """The dense reference: trained for as long as search and tuning, or the given weights.

    Given weights are measured before anything is trained. With a new head they are trained too.

    Raises:
        BudgetError: No search can meet the recipe's budget.
    """
    start, history = context.start(), []
    model, settings = start.model, context.recipe.dense_settings()
    check_budget(context, model)
    measure_given(context, start, folder)
    if context.recipe.model.weights is None or start.new_head:
        task = context.task_of(settings)
        history = _train(context, folder, _job(context, "dense", model, settings, TaskLoss(task)))
    write_training(context, folder, model, history, _images(history, settings))


def search(context: Context, folder: Path) -> None:
    """Sparse training: weights, the structure it found, and the path of every unit."""
    recipe, model = context.recipe, context.fresh_model()
    task = context.task_of(recipe.train)
    per_epoch = steps_per_epoch(task, recipe.train)
    horizon = Horizon(
        num_steps=recipe.train.epochs * per_epoch,
        path_time=path_time(recipe.train, per_epoch),
        seed=recipe.seed,
        num_epochs=recipe.train.epochs,
    )
    sparsifier = build_sparsifier(recipe.sparsity, horizon)
    cost = Cost.of(model, context.couplings, layer_macs(model, context.example))
    job = Job(
        stage="train",
        model=model,
        task=task,
        objective=TaskLoss(task),
        sparsifier=sparsifier,
        couplings=context.couplings,
        settings=recipe.train,
        seed=recipe.seed,
        stop=_stop_rule(context, cost),
    )
    more = to_keep_more(recipe.sparsity)
    watch = SupportWatch(cost, context.couplings, recipe.strip, recipe.train.epochs, more)
    history = _train(context, folder, job, watch)
    if not context.is_main:
        return
    if recipe.stop is not None and "stopped" not in history[-1]:
        context.console.say(f"train: stop.rule = {recipe.stop.rule} did not end the search early")
    history = [record | watch.figures(record) for record in history]
    structure, path = sparsifier.structure(), sparsifier.path()
    if structure.granularity != "channel":
        structure = _write_masks(context, folder, model, structure, path)
    write_training(context, folder, model, history, _images(history, recipe.train))
    write_json(folder / "structure.json", structure.to_json())
    write_json(folder / "path.json", path.to_json())


def _stop_rule(context: Context, cost: Cost) -> StopRule | None:
    settings = context.recipe.stop
    if settings is None:
        return None
    num_classes = context.data.num_classes
    return stop_rule(settings, context.recipe.strip, cost, context.couplings, num_classes)


def _write_masks(
    context: Context, folder: Path, model: nn.Module, structure: Structure, path: UnitsPath
) -> Structure:
    """Save a structure of single weights, zero ``model`` outside it; the units that are alive."""
    zero_outside_(model, structure)
    save_masks(folder / MASKS_FILE, structure)
    support = live_support(context.couplings, structure, path)
    context.console.say(
        f"train: {1 - structure.sparsity:.1%} of the weights in {len(structure.keep)} layers "
        f"kept, and with them {support.num_kept} of {support.num_units} units"
    )
    return support


def tune(context: Context, folder: Path) -> None:
    """Norms re-estimated, then fine-tuning with the dense network as teacher.

    Single weights that the search left out stay zero.
    """
    settings, plan = context.recipe.tune, context.plan("strip")
    if settings.norm_divisor == "plain":
        plan = plan.with_plain_norms()
    model, masks = context.stripped(plan), context.masks("strip")
    if masks is not None:
        zero_outside_(model, masks)
    task = context.task_of(settings)
    size, num_batches = settings.batch_size, settings.norm_batches
    reestimate_norms(model, some_inputs(task, size, context.recipe.seed, num_batches))
    objective = _taught(context, task, model)
    job = _job(context, "tune", model, settings, objective)
    if masks is not None:
        job = replace(job, sparsifier=Held(masks))
    history = _train(context, folder, job)
    images = _images(history, settings)
    taught = _teacher_images(objective, images["images"])
    write_training(context, folder, model, history, images | {"teacher_images": taught})
    if context.is_main:
        write_json(folder / "plan.json", plan.to_json())


def _taught(context: Context, task: Task, model: nn.Module) -> Objective:
    """What tuning minimises; without epochs no teacher is asked."""
    settings = context.recipe.tune
    if not settings.epochs or not (settings.teacher_weight or settings.features):
        return TaskLoss(task)
    teacher, stages = context.dense_model().to(context.torch_device), None
    if settings.features:
        features = Features(model, teacher, settings.features, context.example)
        for line in features.lines():
            context.console.say(line)
        stages = Stages(features, settings.feature_weight)
    return Distillation(task, teacher, settings.teacher_weight, settings.temperature, stages)


def _teacher_images(objective: Objective, images: int) -> int:
    return objective.teacher_images(images) if isinstance(objective, Distillation) else 0


def _job(
    context: Context,
    stage: str,
    model: nn.Module,
    settings: TrainSettings,
    objective: Objective,
) -> Job:
    """A job without sparsity."""
    nothing = Dense(DenseSettings(), Horizon(num_steps=0, path_time=0.0, seed=0))
    return Job(
        stage=stage,
        model=model,
        task=context.task_of(settings),
        objective=objective,
        sparsifier=nothing,
        couplings=Couplings(()),
        settings=settings,
        seed=context.recipe.seed,
    )


def _train(
    context: Context, folder: Path, job: Job, watch: SupportWatch | None = None
) -> list[Record]:
    on_epoch = epoch_teller(context, job.stage, job.settings.epochs, watch)
    around = context.surroundings(folder, on_epoch)
    return train(job, around) if watch is None else search_keeping(context, folder, job, around)


def epoch_teller(
    context: Context, stage: str, epochs: int, watch: SupportWatch | None = None
) -> Callable[[Record], None]:
    """Logs each epoch of a stage and tells a person of it."""

    def on_epoch(record: Record) -> None:
        if not context.is_main:
            return
        figures = watch.figures(record) if watch else {}
        outlook = watch.outlook(record) if watch else {}
        context.run.log("epoch", record | figures | outlook)
        support = f", {watch.line(record)}" if watch and figures else ""
        if "kept_share" in record:
            support += f", structure keeps {record['kept_share']:.1%} of the weights"
        context.console.say(
            f"{stage}: epoch {record['epoch']}/{epochs}, loss "
            f"{record['loss']:.3f}, validation {record['validation_accuracy']:.2%}{support}"
        )
        if why := record.get("stopped"):
            context.console.say(
                f"{stage}: stopped after epoch {record['epoch']} of {epochs}: {why}"
            )
        for notice in [*record["notices"], *(watch.notices(record) if watch else ())]:
            context.console.warn(notice)

    return on_epoch


def write_training(
    context: Context,
    folder: Path,
    model: nn.Module,
    history: list[Record],
    compute: dict[str, int],
) -> None:
    """Write what every stage of training leaves; the first process alone does."""
    if not context.is_main:
        return
    save_weights(folder / "weights.safetensors", model)
    write_json(folder / "history.json", history)
    write_json(folder / "compute.json", compute)


def _images(history: list[Record], settings: TrainSettings) -> dict[str, int]:
    """Images trained on, and those that went through a teacher: none, unless a stage has one."""
    steps = history[-1]["step"] if history else 0
    return {"images": steps * settings.batch_size, "teacher_images": 0}

"""What each stage of a run does: reads files of finished stages, writes its own into its folder.

Stages meet only through files, so each can be run alone, repeated or replaced, and on several
processes the ones that only the first process runs need no other care.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.bench.engines import Side
from compressor.bench.pair import bench_pair
from compressor.context import Context
from compressor.count import count, layer_macs
from compressor.couplings.coupling import Couplings, mask_
from compressor.errors import RunError
from compressor.export.onnx import export_onnx
from compressor.export.verify import OnnxPredictor, check_parity, parity, random_inputs
from compressor.files import read_json, write_json
from compressor.report.write import write_report
from compressor.sparsity.base import Horizon
from compressor.sparsity.catalog import build_sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, solve
from compressor.strip.certificate import certify
from compressor.strip.plan import make_plan
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure
from compressor.summary import make_summary
from compressor.support import SupportWatch
from compressor.tasks.task import Objective, Task, TaskLoss
from compressor.train.checkpoint import save_weights
from compressor.train.distill import Distillation
from compressor.train.loop import Job, Record, steps_per_epoch, train
from compressor.train.norms import reestimate_norms
from compressor.train.order import batch_places, epoch_order, generator_for
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

CERTIFICATE_IMAGES = 64
"""Real images in the certificate, beside as many random ones."""

PARITY_IMAGES = 64

REPORT_FILES = ("summary.json", "report.md", "report.html")
"""What the last stage writes for people, into the run directory itself."""


def inspect(context: Context, folder: Path) -> None:
    """Couplings and size of the dense network, and its export, before anything is trained."""
    couplings, model = context.couplings, context.fresh_model()
    context.check_output(model)
    if not couplings.free:
        reasons = "; ".join(f"{frozen.name}: {frozen.reason}" for frozen in couplings.frozen)
        raise RunError(f"No unit of {context.recipe.model.factory} can be removed: {reasons}.")
    export_onnx(model, context.data.image_shape, folder / "preflight.onnx", context.recipe.export)
    (folder / "preflight.onnx").unlink()
    write_json(
        folder / "couplings.json",
        {
            "free": [
                {"name": c.name, "units": c.num_units, "tensors": [m.tensor for m in c.members]}
                for c in couplings.free
            ],
            "frozen": [asdict(frozen) for frozen in couplings.frozen],
            "counts": asdict(count(model, context.example)),
        },
    )
    context.console.say(
        f"inspect: {couplings.num_units} units in {len(couplings.free)} couplings can be removed, "
        f"{len(couplings.frozen)} couplings are kept whole"
    )


def dense(context: Context, folder: Path) -> None:
    """The dense reference: trained for as long as search and tuning, or the given weights."""
    model, history = context.fresh_model(), []
    settings = context.recipe.dense_settings()
    if context.recipe.model.weights is None:
        task = context.task_of(settings)
        history = _train(context, folder, _job(context, "dense", model, settings, TaskLoss(task)))
    _write_training(context, folder, model, history, _images(history, settings))


def search(context: Context, folder: Path) -> None:
    """Sparse training: weights, the structure it found, and the path of every unit."""
    recipe, model = context.recipe, context.fresh_model()
    task = context.task_of(recipe.train)
    per_epoch = steps_per_epoch(task, recipe.train)
    horizon = Horizon(
        num_steps=recipe.train.epochs * per_epoch,
        path_time=path_time(recipe.train, per_epoch),
        seed=recipe.seed,
    )
    sparsifier = build_sparsifier(recipe.sparsity, horizon)
    job = Job(
        stage="train",
        model=model,
        task=task,
        objective=TaskLoss(task),
        sparsifier=sparsifier,
        couplings=context.couplings,
        settings=recipe.train,
        seed=recipe.seed,
    )
    cost = Cost.of(model, context.couplings, layer_macs(model, context.example))
    watch = SupportWatch(cost, context.couplings, recipe.strip, recipe.train.epochs)
    history = _train(context, folder, job, watch)
    if not context.is_main:
        return
    history = [record | watch.figures(record) for record in history]
    _write_training(context, folder, model, history, _images(history, recipe.train))
    write_json(folder / "structure.json", sparsifier.structure().to_json())
    write_json(folder / "path.json", sparsifier.path().to_json())


def strip(context: Context, folder: Path) -> None:
    """The budget solved along the path, the units outside removed, and the proof of it."""
    recipe, run, couplings = context.recipe, context.run, context.couplings
    model = context.searched_model()
    path = UnitsPath.from_json(read_json(run.path("train", "path.json")))
    support = Structure.from_json(read_json(run.path("train", "structure.json")))
    cost = Cost.of(model, couplings, layer_macs(model, context.example))
    structure = solve(couplings, cost, path, support, recipe.strip)
    certificate = certify(model, couplings, structure, _certificate_inputs(context))
    certificate.check()
    plan = make_plan(model, couplings, structure)
    slim = apply(plan, model)
    dense_counts, counts = count(model, context.example), count(slim, context.example)
    write_json(folder / "plan.json", plan.to_json())
    write_json(folder / "structure.json", structure.to_json())
    write_json(folder / "certificate.json", certificate.to_json())
    write_json(folder / "counts.json", {"dense": asdict(dense_counts), "slim": asdict(counts)})
    write_json(folder / "widths.json", _widths(couplings, cost, structure))
    save_weights(folder / "weights.safetensors", slim)
    context.console.say(
        f"strip: {structure.num_kept} of {structure.num_units} units kept, "
        f"{counts.macs / dense_counts.macs:.1%} of the MACs, "
        f"{counts.params / dense_counts.params:.1%} of the parameters, "
        f"stripped equals masked to {certificate.max_rel_diff_fp32:.1e}"
    )


def tune(context: Context, folder: Path) -> None:
    """Norms re-estimated, then fine-tuning with the dense network as teacher."""
    settings, model = context.recipe.tune, context.slim_model("strip")
    task = context.task_of(settings)
    inputs = _some_inputs(task, settings.norm_batches, settings.batch_size, context.recipe.seed)
    reestimate_norms(model, inputs)
    teacher = context.dense_model().to(context.torch_device)
    objective = Distillation(task, teacher, settings.teacher_weight, settings.temperature)
    history = _train(context, folder, _job(context, "tune", model, settings, objective))
    images = _images(history, settings)
    taught = objective.teacher_images(images["images"])
    _write_training(context, folder, model, history, images | {"teacher_images": taught})


def export(context: Context, folder: Path) -> None:
    """The dense and the slim network as ONNX."""
    shape, settings = context.data.image_shape, context.recipe.export
    export_onnx(context.slim_model("tune"), shape, folder / "model.onnx", settings)
    export_onnx(context.dense_model(), shape, folder / "dense.onnx", settings)


def verify(context: Context, folder: Path) -> None:
    """Parity of each file, and the one look at the test images."""
    masked = context.searched_model()
    structure = Structure.from_json(read_json(context.run.path("strip", "structure.json")))
    mask_(masked, context.couplings, structure)
    networks = {
        "dense": context.dense_model(),
        "masked": masked,
        "stripped_before_tuning": context.slim_model("strip"),
        "slim": context.slim_model("tune"),
    }
    accuracy = {name: _test_accuracy(context, model) for name, model in networks.items()}
    files = []
    for name, network in (("model.onnx", "slim"), ("dense.onnx", "dense")):
        path = context.run.path("export", name)
        inputs = [*random_inputs(context.data.image_shape), context.task.example(PARITY_IMAGES)]
        measured = parity(networks[network], path, inputs)
        check_parity(measured, path)
        predictor = OnnxPredictor(path, torch.get_num_threads())
        right = context.task.accuracy(predictor, "test")
        files.append({"file": name, "max_rel_diff": measured.max_rel_diff, "accuracy": right})
    write_json(
        folder / "verify.json",
        {"accuracy": accuracy, "files": files, "test_images": len(context.data.test)},
    )


def bench(context: Context, folder: Path) -> None:
    """Dense and slim timed side by side."""
    shape, run = context.data.image_shape, context.run
    sides = [
        Side(module=model, onnx_path=run.path("export", name), image_shape=shape)
        for model, name in (
            (context.dense_model(), "dense.onnx"),
            (context.slim_model("tune"), "model.onnx"),
        )
    ]
    write_json(
        folder / "latency.json",
        bench_pair(sides[0], sides[1], context.recipe.bench, context.console),
    )


def report(context: Context, folder: Path) -> None:
    """``summary.json`` and the pages that show it."""
    del folder  # its files are for people, and lie on top of the run
    run = context.run
    write_json(run.folder / "summary.json", make_summary(context.recipe, run))
    write_report(run.folder)
    context.console.say(f"report: {run.folder / 'report.html'}")


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
    def on_epoch(record: Record) -> None:
        if not context.is_main:
            return
        figures = watch.figures(record) if watch else {}
        context.run.log("epoch", record | figures)
        support = f", {watch.line(record)}" if watch and figures else ""
        context.console.say(
            f"{job.stage}: epoch {record['epoch']}/{job.settings.epochs}, loss "
            f"{record['loss']:.3f}, validation {record['validation_accuracy']:.2%}{support}"
        )
        for notice in [*record["notices"], *(watch.notices(record) if watch else ())]:
            context.console.warn(notice)

    return train(job, context.surroundings(folder, on_epoch))


def _write_training(
    context: Context,
    folder: Path,
    model: nn.Module,
    history: list[Record],
    compute: dict[str, int],
) -> None:
    if not context.is_main:
        return
    save_weights(folder / "weights.safetensors", model)
    write_json(folder / "history.json", history)
    write_json(folder / "compute.json", compute)


def _images(history: list[Record], settings: TrainSettings) -> dict[str, int]:
    """Images trained on, and those that went through a teacher: none, unless a stage has one."""
    steps = history[-1]["step"] if history else 0
    return {"images": steps * settings.batch_size, "teacher_images": 0}


def _certificate_inputs(context: Context) -> list[Tensor]:
    generator = generator_for(context.recipe.seed, "certificate")
    noise = torch.randn(CERTIFICATE_IMAGES, *context.data.image_shape, generator=generator)
    return [context.task.example(CERTIFICATE_IMAGES), noise]


def _widths(couplings: Couplings, cost: Cost, structure: Structure) -> list[dict[str, Any]]:
    whole = cost.macs({})
    return [
        {
            "coupling": c.name,
            "units": c.num_units,
            "kept": int(structure.keep[c.name].sum()),
            "share_of_macs": 1 - cost.macs({c.name: c.num_units}) / whole,
        }
        for c in couplings.free
    ]


def _some_inputs(task: Task, num_batches: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Training images in the order of an epoch before the first."""
    order = epoch_order(task.num_train, seed, epoch=-1)
    for batch in range(min(num_batches, len(order) // batch_size)):
        places = batch_places(order, batch, batch_size)
        yield task.batch(places, generator_for(seed, "norms", batch)).inputs


def _test_accuracy(context: Context, model: nn.Module) -> float:
    @torch.no_grad()
    def predict(inputs: Tensor) -> Tensor:
        outputs: Tensor = model(inputs.to(context.torch_device))
        return outputs

    model.to(context.torch_device)
    right = context.task.accuracy(predict, "test")
    model.to("cpu")
    return right

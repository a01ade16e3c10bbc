"""Stage ``build``: the slim network as TensorRT plans, each with its sidecar."""

from contextlib import closing
from functools import cache, partial
from pathlib import Path

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.subjects import Subject
from compressor.context import Context
from compressor.engines import GPU_ENGINES
from compressor.export.engine_plans import PlanProfile, build_profile, check_kit
from compressor.export.plan_figures import PlanGate, PlanRecord, measure, record_of
from compressor.export.profiles import PROFILES
from compressor.export.verify import predictor
from compressor.files import read_json, write_json
from compressor.recipe import Recipe
from compressor.run import Run
from compressor.stages.precisions import file_name
from compressor.tensorrt.module import Kit, open_kit

PLANS_FILE = "plans.json"
"""Records of all plans; written where a recipe asks for some."""


def plan_name(profile: PlanProfile) -> str:
    """Name of the plan that is built from the file of ``profile``."""
    return f"model.{profile}.plan"


def build(context: Context, folder: Path) -> None:
    """Build the plans that the recipe asks for; without any, nothing is written."""
    settings = context.recipe.tensorrt
    if settings.profiles:
        write_plans(context, folder, open_kit(settings.engine))


def write_plans(context: Context, folder: Path, kit: Kit) -> None:
    """Build each plan with ``kit``, gate it, and write down what is known of it.

    Raises:
        ModelError: There is no GPU and the engine needs one, or a file cannot be built here.
        CheckError: A plan's layers are not at its precision, or it loses too much accuracy.
    """
    check_kit(kit)
    settings = context.recipe.tensorrt
    gate = PlanGate(
        accuracy=partial(context.task.accuracy, held="validation"),
        float_accuracy=cache(partial(_float_accuracy, context)),
        max_drop=settings.max_accuracy_drop,
        batch=settings.batch,
    )
    records = []
    for profile in settings.profiles:
        onnx = context.run.path("export", _onnx_name(profile))
        plan = folder / plan_name(profile)
        sidecar = build_profile(kit, onnx, profile, plan, settings)
        record = record_of(plan, sidecar, profile, measure(kit, plan, onnx, sidecar, gate))
        context.console.say(f"build: {told(record)}")
        records.append(record.to_json())
    write_json(folder / PLANS_FILE, records)


def _onnx_name(profile: PlanProfile) -> str:
    return "model.onnx" if profile == "fp32" else file_name(profile)


def _float_accuracy(context: Context) -> float:
    """Accuracy of the float32 file on the validation images, in [0, 1]."""
    path, threads = context.run.path("export", "model.onnx"), context.recipe.precision.num_threads
    with closing(OnnxRuntimeRunner(path, threads)) as runner:
        return context.task.accuracy(predictor(runner), "validation")


def told(record: PlanRecord) -> str:
    """One line on a plan: size, engine, layers at each precision, and what came out or why not."""
    if record.plan_products is None:
        layers = f"{_counted(record.file_products)} in the file, not read back"
    else:
        layers = f"{_counted(record.plan_products)} read back, {record.num_reformats} reformats"
    parts = [
        f"{record.file}, {record.num_bytes:,d} bytes, {record.engine} {record.version}; products: "
        f"{layers}"
    ]
    if record.accuracy is not None and record.float_accuracy is not None:
        parts.append(
            f"validation accuracy {record.accuracy:.2%} (float32 {record.float_accuracy:.2%})"
        )
    if record.unmeasured is not None:
        parts.append(f"accuracy unmeasured, {record.unmeasured}, and so it is not timed")
    parts += filter(None, (record.sparse, record.sparse_warning))
    if record.num_warnings:
        parts.append(f"warnings of the builder: {record.num_warnings}, in {record.file}.json")
    return "; ".join(parts)


def _counted(products: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in products.items())


def timed_files(run: Run, recipe: Recipe) -> list[Path | Subject]:
    """What the whole way is timed with: the files in other precisions, and the plans.

    A file that no engine but those of plans runs is left out for its plan; so is a plan whose
    accuracy is unmeasured, whose record says why: a fast wrong plan is worth nothing.
    """
    planned = recipe.tensorrt.profiles
    files: list[Path | Subject] = [
        run.path("export", file_name(name))
        for name in recipe.precision.profiles
        if name not in planned or not set(PROFILES[name].engines) <= set(GPU_ENGINES)
    ]
    records = read_json(run.path("build", PLANS_FILE)) if planned else []
    plans = [
        Subject(record["label"], record["engine"], run.path("build", record["file"]))
        for record in records
        if record["accuracy"] is not None
    ]
    return [*files, *plans]

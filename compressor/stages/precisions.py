"""The slim network in other precisions: files made, gated, and looked at once on test images."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from compressor.bench.runner import import_engine
from compressor.bench.torch_runner import TorchRunner
from compressor.context import Context
from compressor.export.precision import (
    GateSettings,
    PrecisionRecord,
    Yardstick,
    make_file,
)
from compressor.export.precision_figures import check_distance
from compressor.export.precision_runner import measuring_runner
from compressor.export.precision_writers import Source
from compressor.export.profiles import PROFILES, find_profile
from compressor.export.verify import of_all_sizes, predictor, runner_parity
from compressor.file_profile import FileProfile, note_profile_
from compressor.files import read_json, whole_file, write_json

PRECISIONS_FILE = "precisions.json"

COMPARED_IMAGES = 256
"""Validation images on which the outputs of a file are compared with those of the float32 one."""

MAX_NAMED = 3
"""Layers named in one line; the others are counted, and listed in the report."""


def file_name(profile: str) -> str:
    """Name of the slim network's file in ``profile``."""
    return f"model.{profile}.onnx"


def note_float(path: Path) -> None:
    """Write into the float32 ONNX file at ``path`` that it is one, and which engines may run it.

    To be called before other files are made from it: they hold its SHA-256.
    """
    profile = PROFILES["fp32"]
    proto = import_engine("onnx", "onnx").load(str(path))
    note_profile_(proto, FileProfile(profile.name, profile.engines))
    with whole_file(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


def write_precisions(context: Context, folder: Path) -> None:
    """Write the slim network in each profile of the recipe, beside ``model.onnx``."""
    settings, task = context.recipe.precision, context.task
    images = task.calibration(settings.quant.num_images, context.recipe.seed)
    if settings.profiles and len(images) < settings.quant.num_images:
        context.console.warn(
            f"precision.quant.num_images = {settings.quant.num_images}, and there are "
            f"{len(images)} training images: all of them are looked at."
        )
        fewer = settings.quant.model_copy(update={"num_images": len(images)})
        settings = settings.model_copy(update={"quant": fewer})
    shape, float_path = context.data.image_shape, folder / "model.onnx"
    source = Source(context.slim_model("tune"), shape, float_path, images)
    accuracy = partial(task.accuracy, held="validation")
    yardstick = Yardstick(task.example(COMPARED_IMAGES), accuracy)
    records = []
    for name in settings.profiles:
        path = folder / file_name(name)
        record = make_file(find_profile(name), source, yardstick, path, settings)
        records.append(record.to_json())
        context.console.say(f"export: {told(record, settings.gate)}")
    write_json(folder / PRECISIONS_FILE, records)


def told(record: PrecisionRecord, gate: GateSettings) -> str:
    """One line on a file: size, accuracy, the layers kept, and whether more tries might spare some.

    It stands on the console; the record holds every layer.
    """
    search = record.search
    kept = f"; {_named(search.kept)} in float32" if search.kept else ""
    spent = (
        f"; all precision.gate.max_evaluations = {gate.max_evaluations} tries were used, "
        "with more fewer layers may do"
        if search.exhausted
        else ""
    )
    return (
        f"{record.file}, {record.num_bytes:,d} bytes, validation accuracy "
        f"{search.accuracy:.2%} (float32 {record.float_accuracy:.2%}){kept}{spent}"
    )


def _named(layers: Sequence[str]) -> str:
    """How many layers, and the first of them by name."""
    noun = "layer" if len(layers) == 1 else "layers"
    first, more = ", ".join(layers[:MAX_NAMED]), len(layers) - MAX_NAMED
    return f"{len(layers)} {noun} ({first}{f' and {more} more' if more > 0 else ''})"


def verified_precisions(context: Context) -> list[dict[str, Any]]:
    """For each file in another precision its distance from the network, and test accuracy.

    Raises:
        CheckError: A file is further from the network than its precision explains.
    """
    records = read_json(context.run.path("export", PRECISIONS_FILE))
    threads = context.recipe.precision.num_threads
    images = of_all_sizes(context.task.example(COMPARED_IMAGES))
    rows = []
    for record in records:
        path, profile = context.run.path("export", record["file"]), find_profile(record["profile"])
        runner = measuring_runner(profile, path, threads)
        with closing(runner), closing(TorchRunner(context.slim_model("tune"), threads)) as network:
            measured = runner_parity(network, runner, images)
            check_distance(measured.relative_l2, profile.precision, path)
            accuracy = context.task.accuracy(predictor(runner), "test")
        rows.append(
            {"file": record["file"], "max_rel_diff": measured.max_rel_diff, "accuracy": accuracy}
        )
    return rows

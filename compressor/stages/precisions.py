"""The slim network in other precisions: files made, gated, and looked at once on test images."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from compressor.bench.torch_runner import TorchRunner
from compressor.context import Context
from compressor.export.precision import Yardstick, make_file, predictor
from compressor.export.precision_runner import measuring_runner
from compressor.export.precision_writers import Source
from compressor.export.profiles import find_profile
from compressor.export.verify import runner_parity
from compressor.files import read_json, write_json

PRECISIONS_FILE = "precisions.json"

COMPARED_IMAGES = 256
"""Validation images on which the outputs of a file are compared with those of the float32 one."""


def file_name(profile: str) -> str:
    """Name of the slim network's file in ``profile``."""
    return f"model.{profile}.onnx"


def write_precisions(context: Context, folder: Path) -> None:
    """Write the slim network in each profile of the recipe, beside ``model.onnx``."""
    settings, task = context.recipe.precision, context.task
    source = Source(
        context.slim_model("tune"),
        context.data.image_shape,
        folder / "model.onnx",
        task.calibration(settings.quant.num_images, context.recipe.seed),
    )
    accuracy = partial(task.accuracy, held="validation")
    yardstick = Yardstick(task.example(COMPARED_IMAGES), accuracy)
    records = []
    for name in settings.profiles:
        path = folder / file_name(name)
        record = make_file(find_profile(name), source, yardstick, path, settings)
        records.append(record.to_json())
        kept = f", {len(record.search.kept)} layers in float32" if record.search.kept else ""
        context.console.say(
            f"export: {record.file}, {record.num_bytes:,d} bytes, validation accuracy "
            f"{record.search.accuracy:.2%} (float32 {record.float_accuracy:.2%}){kept}"
        )
    write_json(folder / PRECISIONS_FILE, records)


def verified_precisions(context: Context) -> list[dict[str, Any]]:
    """For each file in another precision its distance from the network, and test accuracy."""
    records = read_json(context.run.path("export", PRECISIONS_FILE))
    threads = context.recipe.precision.num_threads
    rows = []
    for record in records:
        path = context.run.path("export", record["file"])
        runner = measuring_runner(find_profile(record["profile"]), path, threads)
        with closing(runner), closing(TorchRunner(context.slim_model("tune"), threads)) as network:
            images = [context.task.example(COMPARED_IMAGES)]
            difference = runner_parity(network, runner, images).max_rel_diff
            accuracy = context.task.accuracy(predictor(runner), "test")
        rows.append({"file": record["file"], "max_rel_diff": difference, "accuracy": accuracy})
    return rows

"""Stages of the finished network: exported, checked, timed, packed and reported."""

from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressor.bench.chain import bench_chain
from compressor.bench.engines import Side
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.pair import bench_pair
from compressor.context import Context, DenseAnswers
from compressor.couplings.coupling import mask_
from compressor.export.onnx import export_onnx
from compressor.export.per_class import count_classes
from compressor.export.verify import (
    FP32_TOLERANCE,
    check_parity,
    parity,
    predictor,
    random_inputs,
)
from compressor.files import read_json, write_json
from compressor.package.description import Accuracy, Counts, Description, Preprocessing
from compressor.package.write import (
    Contents,
    Records,
    packed_model,
    packed_recipe,
    write_package,
)
from compressor.recipe import shipped
from compressor.report.write import write_report
from compressor.stages.answers import answers_of
from compressor.stages.building import timed_files
from compressor.stages.dense_side import DENSE_FILE, dense_answers, export_dense, note_dense
from compressor.stages.precisions import note_float, verified_precisions, write_precisions
from compressor.stages.weight_level import num_nonzero
from compressor.structure import Structure
from compressor.summary import make_summary

SLIM_FILE = "model.onnx"

PARITY_IMAGES = 64

SAMPLE_IMAGES = 8
"""Validation images whose outputs are recorded in the package."""

REPORT_FILES = ("summary.json", "report.md", "report.html")
"""What the last stage writes for people, into the run directory itself."""


def export(context: Context, folder: Path) -> None:
    """The dense and the slim network as ONNX, the slim one in all precisions asked for."""
    shape, settings = context.data.image_shape, context.recipe.export
    exported = {
        SLIM_FILE: export_onnx(context.slim_model("tune"), shape, folder / SLIM_FILE, settings),
        DENSE_FILE: export_dense(context, folder / DENSE_FILE),
    }
    for name in exported:
        if exported[name].why is not None:
            context.console.warn(
                f"{name} was written by PyTorch's older exporter, {exported[name].exporter}: "
                f"{exported[name].why}"
            )
    write_json(folder / "exporters.json", {name: asdict(how) for name, how in exported.items()})
    for name in exported:
        note_float(folder / name)
    note_dense(context, folder / DENSE_FILE, exported[DENSE_FILE])
    # After it, since the other files hold the hash of the float32 one.
    write_precisions(context, folder)


def verify(context: Context, folder: Path) -> None:
    """Parity of each file, and the one look at the test images."""
    masked = context.searched_model()
    structure = Structure.from_json(read_json(context.run.path("strip", "structure.json")))
    mask_(masked, context.couplings, structure)
    masks = context.masks("strip")
    dense, slim = context.dense_model(), context.slim_model("tune")
    told = dense_answers(
        context, context.run.path("export", DENSE_FILE), partial(_dense_answers, context, dense)
    )
    accuracy = {
        "dense": told.accuracy,
        "masked": answers_of(context, masked)[0],
        "stripped_before_tuning": answers_of(context, context.slim_model("strip"))[0],
    }
    accuracy["slim"], guesses = answers_of(context, slim)
    files = [_verified(context, slim, SLIM_FILE), told.file, *verified_precisions(context)]
    write_json(
        folder / "verify.json",
        {
            "accuracy": accuracy,
            "files": files,
            "test_images": len(context.data.test),
            "classes": count_classes(
                context.data.classes, context.data.test.labels, told.guesses, guesses
            ),
            "granularity": "channel" if masks is None else masks.granularity,
            "nonzero_params": {"dense": num_nonzero(dense), "slim": num_nonzero(slim)},
        },
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
    record = bench_pair(sides[0], sides[1], context.recipe.bench, context.console)
    if files := timed_files(run, context.recipe):
        record["chain"] = bench_chain(
            sides[0], sides[1], files, context.recipe.bench, context.console
        )
    write_json(folder / "latency.json", record)


def package(context: Context, folder: Path) -> None:
    """The slim package, tried in a process of its own."""
    run, recipe, data = context.run, context.recipe, context.data
    folders = (*context.model_folders, shipped("models").parent)
    model, architecture = packed_model(recipe.model, folders)
    sizes = {
        name: Counts(macs=found["macs"], params=found["params"], bytes=found["bytes"])
        for name, found in read_json(run.path("strip", "counts.json")).items()
    }
    timed = run.folder / "bench" / "latency.json"
    verified = read_json(run.path("verify", "verify.json"))
    description = Description(
        name=recipe.name,
        model=model,
        seed=recipe.seed,
        labels=data.classes,
        preprocessing=Preprocessing(
            image_shape=data.image_shape,
            mean=data.mean,
            std=data.std,
            stretched=recipe.data.image_size is not None and recipe.data.resize == "stretch",
            resize=None if recipe.data.image_size is None else recipe.data.resize,
        ),
        counts=sizes["slim"],
        dense=sizes["dense"],
        accuracy=Accuracy(
            dense=verified["accuracy"]["dense"],
            slim=verified["accuracy"]["slim"],
            test_images=verified["test_images"],
        ),
    )
    contents = Contents(
        description=description,
        module=context.slim_model("tune"),
        plan=context.plan("tune"),
        architecture=architecture,
        samples=context.task.example(SAMPLE_IMAGES),
        onnx=run.path("export", "model.onnx"),
        records=Records(
            certificate=read_json(run.path("strip", "certificate.json")),
            recipe=packed_recipe(recipe.model_dump(mode="json")),
            environment=read_json(run.folder / "environment.json"),
            # Members of a family are timed beside each other, and not each for itself.
            latency=read_json(timed) if timed.is_file() else None,
        ),
    )
    # The folder of an unfinished stage holds a note of the run, and a package nothing of others.
    made = folder / "made"
    write_package(made, contents)
    for path in made.iterdir():
        path.replace(folder / path.name)
    made.rmdir()
    context.console.say(f"package: {run.folder / 'package'} loads and verifies by itself")


def report(context: Context, folder: Path) -> None:
    """``summary.json`` and the pages that show it."""
    del folder  # its files are for people, and lie on top of the run
    run = context.run
    write_json(run.folder / "summary.json", make_summary(context.recipe, run))
    write_report(run.folder)
    context.console.say(f"report: {run.folder / 'report.html'}")


def _dense_answers(context: Context, model: nn.Module) -> DenseAnswers:
    accuracy, guesses = answers_of(context, model)
    return DenseAnswers(accuracy, guesses, _verified(context, model, DENSE_FILE))


def _verified(context: Context, model: nn.Module, name: str) -> dict[str, Any]:
    """Parity of an exported file with its network, and its accuracy on the test images."""
    path = context.run.path("export", name)
    inputs = [*random_inputs(context.data.image_shape), context.task.example(PARITY_IMAGES)]
    measured = parity(model, path, inputs)
    check_parity(measured, path)
    with closing(OnnxRuntimeRunner(path, torch.get_num_threads())) as runner:
        right = context.task.accuracy(predictor(runner), "test")
    row = {"file": name, "max_rel_diff": measured.max_rel_diff, "accuracy": right}
    return row | {"bound": FP32_TOLERANCE}

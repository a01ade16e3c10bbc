"""The whole way of a run: dense float32 in PyTorch against its slim int8 file in ONNX Runtime."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from latency_timing import Figures, How, Makers, side_by_side
from torch import nn

from compressor.bench.onnx_input import onnx_image_shape
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.timer import random_batch, timing_facts
from compressor.bench.torch_runner import TorchRunner
from compressor.console import Console
from compressor.context import Context
from compressor.data.catalog import data_root
from compressor.errors import RunError
from compressor.files import read_json
from compressor.recipe import check_recipe
from compressor.run import MANIFEST, Run

PROFILE = "int8-ort-cpu"
BATCHES = (1, 32)

REFERENCE = "dense, torch"
INT8 = f"slim {PROFILE}, onnxruntime"
"""Names of the two ends, as runs record them."""

STAGES = ("dense", "export", "verify", "bench")
"""Whose files are read."""


def measured(folder: str, num_threads: int, how: How) -> Figures:
    """Latency of every step of the way, batch by batch, and the accuracy of its two ends.

    Times are those of the run's own record where that is of so many threads, of these batches and
    of as many rounds.

    Args:
        folder: Of a finished run.
        num_threads: Of the engines.
        how: Rounds and limits.

    Raises:
        RunError: It is no finished run, has no int8 file, or its files are not what it wrote.
    """
    run = opened(Path(folder))
    settings = read_json(run.folder / "settings.json")
    figures: Figures = {
        "recipe": settings["name"],
        "strip": {k: v for k, v in settings["strip"].items() if k.startswith("keep_") and v},
        "accuracy": accuracy_of(run),
    }
    kept = recorded(read_json(run.path("bench", "latency.json")), num_threads, how.rounds)
    if kept is not None:
        return {**figures, "source": "the run's record", **kept}
    timing = how.timing(num_threads)
    makers, shape = _makers(run, num_threads), onnx_image_shape(run.path("export", "model.onnx"))
    latency = {
        str(size): side_by_side(makers, REFERENCE, random_batch(size, shape), timing)
        for size in BATCHES
    }
    method = {"clock": timing.clock, **timing_facts(timing)}
    return {**figures, "source": "measured here", "latency": latency, "method": method}


def opened(folder: Path) -> Run:
    """The run in ``folder``, whose files are as it wrote them.

    Raises:
        RunError: They are not, or there are none.
    """
    if not (folder / MANIFEST).is_file():
        raise RunError(
            f"{folder} is not the folder of a run: it has no {MANIFEST}. Give one with it."
        )
    run = Run(folder)
    done = run.seconds()
    for stage in STAGES:
        if stage not in done:
            raise RunError(f"{folder}: stage {stage} is not done. Run it to its end first.")
        if changed := run.changed_files(stage):
            raise RunError(
                f"{folder}: {changed[0]} is not what the run wrote. Run it again with --resume."
            )
    if not (folder / "export" / _file_name()).is_file():
        raise RunError(
            f"{folder}: the run made no {_file_name()}. Run it again with "
            f"--set 'precision.profiles=[\"{PROFILE}\"]'."
        )
    return run


def _file_name() -> str:
    return f"model.{PROFILE}.onnx"


def accuracy_of(run: Run) -> Figures:
    """Accuracy on the test images of the dense network and of the int8 file, and how many images.

    Whole numbers of images, since shares of them are rounded.
    """
    verified = read_json(run.path("verify", "verify.json"))
    files = {entry["file"]: entry["accuracy"] for entry in verified["files"]}
    num_images = verified["test_images"]
    shares = {"dense": verified["accuracy"]["dense"], "int8": files[_file_name()]}
    right = {f"{name}_right": round(share * num_images) for name, share in shares.items()}
    return {**shares, **right, "test_images": num_images}


def recorded(record: Mapping[str, Any], num_threads: int, rounds: int) -> Figures | None:
    """Latency and method of a run's own record; None if it is of something else.

    Args:
        record: Of the run's timing.
        num_threads: That must have been used.
        rounds: Samples that each figure needs at least; a run's time may have been over before.
    """
    chain, method = record.get("chain"), record["method"]
    if chain is None or method["num_threads"] != num_threads:
        return None
    cells = [chain["latency"].get(str(size), {}) for size in BATCHES]
    if not all({REFERENCE, INT8} <= set(cell) for cell in cells):
        return None
    if any(link["samples"] < rounds for cell in cells for link in cell.values()):
        return None
    latency = {str(size): cell for size, cell in zip(BATCHES, cells, strict=True)}
    return {"latency": latency, "method": method, "environment": record["environment"]}


def _makers(run: Run, num_threads: int) -> Makers:
    dense = dense_model(run)
    files = {
        "dense, onnxruntime": "dense.onnx",
        "slim, onnxruntime": "model.onnx",
        INT8: _file_name(),
    }
    return {
        REFERENCE: partial(TorchRunner, dense, num_threads),
        **{
            name: partial(OnnxRuntimeRunner, run.path("export", file), num_threads)
            for name, file in files.items()
        },
    }


def dense_model(run: Run) -> nn.Module:
    """The trained dense network of the run, whose factory is shipped or lies below the folder."""
    context = Context(
        recipe=check_recipe(read_json(run.folder / "settings.json"), str(run.folder)),
        run=run,
        console=Console(quiet=True),
        device="cpu",
        data_root=data_root(),
        model_folders=(Path(),),
        resume=False,
        is_main=True,
    )
    return context.dense_model()

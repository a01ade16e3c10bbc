"""What the network does on this machine: its couplings, its export, a few real training steps."""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.timer import random_batch
from compressor.count import layer_macs
from compressor.couplings.coupling import Couplings
from compressor.data.source import ImageData
from compressor.errors import BudgetError, CompressorError, ModelError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.init.network import SEED
from compressor.init.rates import Rates
from compressor.inspection.inspect import thinned
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.sparsity.catalog import build_sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.split_lbi import SplitLBISettings
from compressor.strip.apply import apply
from compressor.strip.budget import Cost, removed_units
from compressor.strip.find import find_couplings
from compressor.strip.plan import make_plan
from compressor.strip.trial import FORWARD_FAILURES
from compressor.tasks.classification import Augment, Classification, TaskSettings
from compressor.tasks.task import TaskLoss
from compressor.train.device import on_cpu
from compressor.train.loop import Job, Surroundings, train
from compressor.train.schedule import path_time
from compressor.train.settings import TrainSettings

STEPS = 2
"""Steps of each of two epochs; the first epoch warms up, the second is taken."""

RUNS = 20
"""Timed runs of the exported file; their median is told."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Left:
    """What a share of the MACs leaves if all couplings are thinned evenly; an estimate.

    Attributes:
        asked: The share.
        macs: For one picture; None where widths do not allow the share.
        params: Parameters that are left, along with it.
        failure: Why not, or None.
    """

    asked: float
    macs: float | None
    params: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Cutting:
    """What can be cut.

    Attributes:
        couplings: Found and tried.
        cost: What units cost.
        seconds: That finding them took.
    """

    couplings: Couplings
    cost: Cost
    seconds: float

    def nearest(self, share: float) -> float:
        """``share`` of the MACs, or what is left at least of them where widths do not allow it."""
        try:
            thinned(self.couplings, self.cost, share)
        except BudgetError as failure:
            # A hair above the floor, which its share times the whole may fall short of.
            return 1.0 if failure.floor is None else min(1.0, failure.floor * (1 + 1e-9))
        return share

    def left(self, share: float) -> Left:
        """What ``share`` of the MACs leaves."""
        try:
            removed = removed_units(thinned(self.couplings, self.cost, share))
        except BudgetError as failure:
            return Left(share, None, None, str(failure))
        return Left(share, self.cost.macs(removed), self.cost.params(removed))


@dataclass(frozen=True)
class Export:
    """The trial export: seconds, bytes, and milliseconds of one picture in ONNX Runtime."""

    seconds: float
    bytes: int
    dense_ms: float


@dataclass(frozen=True)
class Speed:
    """Measured seconds of training per image, and of a forward pass of the dense network."""

    search: float
    dense: float
    slim: float
    teacher: float


def find_cutting(model: nn.Module, data: ImageData) -> Cutting:
    """The couplings, found as a run finds them.

    Raises:
        CouplingError: They cannot be found.
        ModelError: None of their units can be removed.
    """
    started = time.monotonic()
    task = Classification(data, TaskSettings())
    couplings = find_couplings(model, task.example(2))
    if not couplings.free:
        reasons = "; ".join(f"{held.name}: {held.reason}" for held in couplings.frozen)
        raise ModelError(f"No unit of the network can be removed: {reasons}.")
    cost = Cost.of(model, couplings, layer_macs(model, task.example(2)))
    return Cutting(couplings, cost, time.monotonic() - started)


def try_export(model: nn.Module, image_shape: tuple[int, int, int]) -> Export:
    """Export, and run what came out.

    Raises:
        ExportError: It cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, started = Path(folder) / "trial.onnx", time.monotonic()
        export_onnx(model, image_shape, path, ExportSettings())
        seconds = time.monotonic() - started
        with closing(OnnxRuntimeRunner(path, 1)) as runner:
            runner.prepare(random_batch(1, image_shape))
            times = [_seconds(runner.run) for _ in range(RUNS)]
        return Export(seconds, path.stat().st_size, 1000 * statistics.median(times))


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def time_steps(
    model: nn.Module,
    data: ImageData,
    cutting: Cutting,
    rates: Rates,
    share: float,
    augment: Augment,
) -> Speed:
    """Real steps of the search, of dense training and of tuning at ``share`` of the MACs.

    Raises:
        ModelError: A step fails.
    """
    some = np.arange(min(len(data.train), STEPS * rates.batch_size))
    few = replace(data, train=data.train.take(some), validation=data.validation.take(some[:2]))
    task = Classification(few, TaskSettings(augment=augment))
    settings = TrainSettings(
        epochs=2, batch_size=rates.batch_size, optimizer=rates.optimizer, lr=rates.search,
        weight_decay=rates.weight_decay, schedule="constant",
    )  # fmt: skip
    steps = len(some) // rates.batch_size
    horizon = Horizon(2 * steps, path_time(settings, steps), SEED, num_epochs=2)
    nothing = Dense(DenseSettings(), Horizon(num_steps=0, path_time=0.0, seed=SEED))
    lbi = build_sparsifier(SplitLBISettings(), horizon)

    def of(trained: nn.Module, sparsifier: Sparsifier, couplings: Couplings) -> float:
        job = Job(
            "trial", copy.deepcopy(trained), task, TaskLoss(task), sparsifier, couplings,
            settings, SEED,
        )  # fmt: skip
        return _per_image(job)

    inputs = task.example(2)[:1].repeat(min(rates.batch_size, 16), 1, 1, 1)
    return Speed(
        search=of(model, lbi, cutting.couplings),
        dense=of(model, nothing, Couplings(())),
        slim=of(_slim(model, cutting, share), nothing, Couplings(())),
        teacher=_forward(model, inputs) / len(inputs),
    )


@torch.no_grad()
def _forward(model: nn.Module, inputs: Tensor) -> float:
    """Seconds of a forward pass where steps are made: on a GPU where there is one."""
    device = torch.device("cpu" if on_cpu(Surroundings().device) else "cuda")
    network, batch = copy.deepcopy(model).eval().to(device), inputs.to(device)
    network(batch).cpu()
    # A GPU answers later than it is asked: to have the outputs is to have waited for them.
    return _seconds(lambda: network(batch).cpu())


def _per_image(job: Job) -> float:
    try:
        return 1 / float(train(job, Surroundings())[-1]["images_per_second"])
    except (CompressorError, *FORWARD_FAILURES) as failure:
        reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0].rstrip(".")
        raise ModelError(
            f"A training step of the network fails: {reason}. Mend its forward, or give another "
            "--image-size."
        ) from failure


def _slim(model: nn.Module, cutting: Cutting, share: float) -> nn.Module:
    try:
        structure = thinned(cutting.couplings, cutting.cost, share)
    except BudgetError as failure:
        told = f"{failure}" if failure.floor is None else (
            f"with widths that suit engines and a floor in every coupling {failure.floor:.3g} of "
            "the MACs stay at least. Ask for more."
        )  # fmt: skip
        raise BudgetError(f"--target keep_macs={share:g}: {told}", failure.floor) from failure
    return apply(make_plan(model, cutting.couplings, structure), model)

"""A budget in time: layers measured, the widths solved, the network built, measured, corrected."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.bench.engines import Side
from compressor.bench.runner import Runner
from compressor.bench.staircase import check_measurable, clock_of, measure_grids
from compressor.bench.staircase_store import Store, cache_folder, machine
from compressor.bench.stopwatch import CLOCKS, Clock
from compressor.bench.timer import TimingSettings, interleave, random_batch
from compressor.console import Console
from compressor.couplings.coupling import Couplings
from compressor.errors import BudgetError, CheckError
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.recipe import Recipe
from compressor.stages.in_precision import WAYS, maker
from compressor.stages.widths import engine_multiple
from compressor.strip.apply import apply
from compressor.strip.budget import Budget, StripSettings, floor_structure, solve
from compressor.strip.cost import Cost
from compressor.strip.latency import (
    LIMIT,
    LatencyTable,
    approach,
    latency_table,
    nearest,
    same,
)
from compressor.strip.layer_shapes import LayerShape, layer_shapes
from compressor.strip.plan import make_plan
from compressor.strip.target import TargetSettings
from compressor.structure import Path as UnitsPath
from compressor.structure import Structure

STORE_FILE = "staircase.json"
ROUNDS, MAX_SECONDS = 30, 10.0
"""Runs of dense and slim network for one measurement, and its longest time in seconds."""

WORD = "latency"


@dataclass(frozen=True)
class Problem:
    """A network and what it is to become.

    Attributes:
        model: The network at full width.
        couplings: What may be removed of it.
        cost: Its cost in MACs.
        path: The order of the units.
        settings: What is asked for; the budget is one of time, ``round_to`` a number.
    """

    model: nn.Module
    couplings: Couplings
    cost: Cost
    path: UnitsPath
    settings: StripSettings


@dataclass(frozen=True)
class Measuring:
    """Where and how a network is measured.

    Attributes:
        target: Engine, precision, batch and threads.
        image_shape: Channels, height and width of its images.
        export: How it is exported.
        console: Hears what is going on.
        cache: Folder of the times that were measured before.
    """

    target: TargetSettings
    image_shape: tuple[int, int, int]
    export: ExportSettings
    console: Console
    cache: Path

    @classmethod
    def of(cls, recipe: Recipe, image_shape: tuple[int, int, int], console: Console) -> "Measuring":
        """Those of a run; times are kept where this machine keeps them."""
        return cls(recipe.target, image_shape, recipe.export, console, cache_folder())


def solve_in_time(problem: Problem, measuring: Measuring) -> tuple[Structure, dict[str, Any]]:
    """The structure whose measured time is nearest to what was asked, and the record of it.

    Raises:
        BudgetError: Even the floors take longer, or the target cannot be measured here.
    """
    check_measurable(measuring.target)
    with _dense(problem, measuring) as dense:
        dense_ms = dense.alone()
        given, asked = _asked(problem.settings, dense_ms)
        if asked >= 1:
            measuring.console.warn(
                f"{given} takes nothing away: the dense network takes {dense_ms:.3g} ms."
            )
        started = time.monotonic()
        table = _table(problem, measuring, dense_ms)
        seconds = time.monotonic() - started
        budget = Budget(table, asked, WORD)
        floors = floor_structure(problem.couplings, problem.cost, problem.path, problem.settings)
        trials = approach(
            asked,
            lambda share: _solved(problem, replace(budget, share=share), floors),
            lambda structure: budget.reached(problem.couplings, structure),
            dense.share,
        )
    best = nearest(trials, asked)
    if same(best.structure, floors) and best.got > (1 + LIMIT) * asked:
        raise BudgetError(_too_little(problem.settings, given, best.got, dense_ms, measuring))
    record = {
        "asked": {**problem.settings.budget(), "share": asked, "ms": asked * dense_ms},
        "predicted": {"share": best.predicted, "ms": best.predicted * dense_ms},
        "got": {"share": best.got, "ms": best.got * dense_ms},
        "dense_ms": dense_ms,
        "error": best.error(asked),
        "met": best.error(asked) <= LIMIT,
        "target": measuring.target.model_dump(),
        "method": dense.method(),
        "layers_seconds": seconds,
        "trials": [
            {"aimed": trial.aimed, "predicted": trial.predicted, "got": trial.got}
            for trial in trials
        ],
    }
    return best.structure, record


def check_floors(problem: Problem, measuring: Measuring) -> str:
    """What the floors take of the budget, as measured, for a person; no layer is timed alone.

    Raises:
        BudgetError: Even the floors take longer, or the target cannot be measured here.
    """
    check_measurable(measuring.target)
    floors = floor_structure(problem.couplings, problem.cost, problem.path, problem.settings)
    with _dense(problem, measuring) as dense:
        dense_ms, share = dense.alone(), dense.share(floors)
    given, asked = _asked(problem.settings, dense_ms)
    if share > (1 + LIMIT) * asked:
        raise BudgetError(_too_little(problem.settings, given, share, dense_ms, measuring))
    return (
        f"{given}: {asked:.1%} of the dense network's {dense_ms:.3g} ms with "
        f"{measuring.target.engine}; the floors take {share:.1%}"
    )


@contextmanager
def latency_shares(
    problem: Problem, measuring: Measuring
) -> Iterator[Callable[[Structure], float]]:
    """What measures a structure's time on the target, as a share of the full network's.

    Raises:
        BudgetError: The target cannot be measured here.
    """
    check_measurable(measuring.target)
    with _dense(problem, measuring) as dense:
        known: dict[tuple[int, ...], float] = {}

        def share(structure: Structure) -> float:
            widths = tuple(structure.widths().values())
            if widths not in known:
                known[widths] = dense.share(structure)
            return known[widths]

        yield share


def say_in_time(record: dict[str, Any], console: Console) -> None:
    """Tell what was asked, predicted and measured; a warning where the budget was missed."""
    asked, got, target = record["asked"], record["got"], record["target"]
    line = (
        f"{got['ms']:.3g} ms of {record['dense_ms']:.3g} ms, {got['share']:.1%} of the dense "
        f"network's latency on {target['engine']} {target['precision']}; asked {asked['share']:.1%}"
        f", predicted {record['predicted']['share']:.1%}"
    )
    if record["met"]:
        console.say(f"strip: {line}")
    else:
        console.warn(
            f"The budget in time is missed by {record['error']:.0%}: {line}. Widths come no "
            "nearer in whole steps; lower strip.round_to, or measure on a quiet machine."
        )


def _asked(settings: StripSettings, dense_ms: float) -> tuple[str, float]:
    """The budget in words, and as a share of the dense network's time, at most 1."""
    if settings.keep_latency is not None:
        return f"strip.keep_latency = {settings.keep_latency:g}", settings.keep_latency
    assert settings.latency_ms is not None, "only a budget in time is measured"
    return f"strip.latency_ms = {settings.latency_ms:g}", min(1.0, settings.latency_ms / dense_ms)


def _solved(problem: Problem, budget: Budget, floors: Structure) -> Structure:
    """The structure for a budget by the table; the floors where the table says they are above it.

    Whether they are is measured before anything is refused.
    """
    everything = problem.couplings.everything()
    try:
        return solve(
            problem.couplings, problem.cost, problem.path, everything, problem.settings, budget
        )
    except BudgetError:
        return floors


def _too_little(
    settings: StripSettings, given: str, floors: float, dense_ms: float, measuring: Measuring
) -> str:
    return (
        f"{given}: the floors alone take {floors * dense_ms:.3g} ms, {floors:.3f} of the "
        f"dense network's {dense_ms:.3g} ms, as measured with {measuring.target.engine}. Raise the "
        f"budget, or lower strip.floor_share ({settings.floor_share:g}) or strip.round_to "
        f"({settings.round_to})."
    )


def _table(problem: Problem, measuring: Measuring, dense_ms: float) -> LatencyTable:
    """The time of the network by its widths; layers that were not measured before are now."""
    key = machine(measuring.target)
    shapes = layer_shapes(problem.model, torch.zeros(1, *measuring.image_shape))
    axes = _axes(problem.cost, shapes)
    block = engine_multiple(measuring.target).channels
    with measuring.console.track("layers", len(axes)) as advance:
        store = Store(measuring.cache / STORE_FILE, key)
        grids = measure_grids(
            axes, block, measuring.target, store, maker(measuring.target), advance
        )
    names = [coupling.name for coupling in problem.couplings.free]
    return latency_table(problem.cost, names, shapes, grids, dense_ms)


def _axes(
    cost: Cost, shapes: dict[str, tuple[LayerShape, ...]]
) -> dict[LayerShape, tuple[bool, bool]]:
    """Along which axes of its weight each shape may shrink, in any of the layers that have it."""
    axes: dict[LayerShape, tuple[bool, bool]] = {}
    for weight, used in shapes.items():
        cut = cost.cut_axes.get(weight, {})
        for shape in used:
            out, into = axes.get(shape, (False, False))
            axes[shape] = (out or 0 in cut, into or 1 in cut)
    return axes


@dataclass
class _Dense:
    """The dense network in its engine, and slim ones measured beside it."""

    problem: Problem
    measuring: Measuring
    folder: Path
    batch: Tensor
    runner: Runner

    def alone(self) -> float:
        """Milliseconds of the dense network: the quickest run, as other programs only slow it."""
        return min(interleave({"dense": self.runner}, self._timing, self._clock)["dense"])

    def share(self, structure: Structure) -> float:
        """Time of the slim network of ``structure`` as a share of the dense network's.

        Both take turns, and the median of the ratios of all rounds counts: what slows the machine
        slows both runs of a round. On a machine with other work eight such measurements of one
        network lay within 4 % of each other, ratios of the quickest runs within 24 %.
        """
        plan = make_plan(self.problem.model, self.problem.couplings, structure)
        slim, path = apply(plan, self.problem.model), self.folder / "slim.onnx"
        runner = _runner(slim, self.measuring, path, self.batch)
        try:
            both = {"dense": self.runner, "slim": runner}
            samples = interleave(both, self._timing, self._clock)
        finally:
            runner.close()
        if min(samples["dense"]) <= 0:
            raise CheckError("The clock is too coarse: a run took 0 ms. Raise target.batch_size.")
        rounds = zip(samples["slim"], samples["dense"], strict=True)
        return statistics.median(slim / dense for slim, dense in rounds)

    def method(self) -> dict[str, Any]:
        """How times were taken, for the record."""
        return {
            "networks": f"dense and slim: {WAYS[self.measuring.target.precision].told}",
            "clock": self._timing.clock,
            "rounds": self._timing.rounds,
            "figure": "median of the ratios of interleaved runs; dense_ms is the quickest run",
        }

    @property
    def _timing(self) -> TimingSettings:
        target = self.measuring.target
        return TimingSettings.model_validate(
            {
                "rounds": ROUNDS,
                "max_seconds": MAX_SECONDS,
                "num_threads": target.num_threads,
                "clock": clock_of(target),
            }
        )

    @property
    def _clock(self) -> Clock:
        return CLOCKS[clock_of(self.measuring.target)]


@contextmanager
def _dense(problem: Problem, measuring: Measuring) -> Iterator[_Dense]:
    batch = random_batch(measuring.target.batch_size, measuring.image_shape)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runner = _runner(problem.model, measuring, folder / "dense.onnx", batch)
        stack.callback(runner.close)
        yield _Dense(problem, measuring, folder, batch, runner)


def _runner(model: nn.Module, measuring: Measuring, path: Path, batch: Tensor) -> Runner:
    """The network in the target's engine and precision, prepared for ``batch``."""
    export_onnx(model, measuring.image_shape, path, measuring.export)
    side = Side(model, path, measuring.image_shape)
    return maker(measuring.target)(side, batch)

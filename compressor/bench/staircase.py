"""How long one layer takes at a few widths, on this machine, in the engine that will run it.

Time climbs in steps: engines handle channels in blocks. So each layer of a network is measured at
a few multiples of the block, once for a machine; in between it is read off a straight line.
"""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from torch import Tensor

from compressor.bench.engines import RUNNERS, Side
from compressor.bench.openvino_runner import computes_bf16
from compressor.bench.runner import Runner, import_engine
from compressor.bench.staircase_graphs import batch_of, side_of
from compressor.bench.staircase_store import Store
from compressor.bench.stopwatch import CLOCKS, MS_PER_SECOND, Clock
from compressor.engines import ENGINES
from compressor.errors import BudgetError
from compressor.memory import no_collection
from compressor.strip.latency import Grid
from compressor.strip.layer_shapes import LayerShape
from compressor.strip.target import TargetSettings

SHARES = (0.125, 0.375, 0.625, 1.0)
"""Widths that are measured, as shares of the dense layer's; up to the next block."""

COPIES = 4
"""Copies of a layer, from which the time of one is taken; see ``staircase_graphs``."""

TURN, MIN_TURNS, MAX_TURNS = 2, 2, 5
"""Timed runs of a layer before the next has its turn, and turns of each: the quickest run counts,
since other programs and cold caches only make one slower."""

LEAST_SHARE = 0.1
"""A layer takes at least this share of what all copies take by their number."""

HELD_BYTES = 1 << 30
"""Of weights that take turns: the first linear layer of a VGG alone has 0.4 GB, without copies."""

FLOAT_BYTES = 4

SHAPE_SECONDS = 1.0
"""After so long no layer gets more turns than it must have."""

Make = Callable[[Side, Tensor], Runner]
"""Makes a runner of a network in the target's engine and precision, prepared for a batch."""

Varies = tuple[bool, bool]
"""Whether couplings cut axis 0 and axis 1 of a layer's weight."""


def check_measurable(target: TargetSettings) -> None:
    """Refuse a target whose times cannot be measured here.

    Raises:
        BudgetError: Its engine or its precision cannot be measured layer by layer.
        MissingExtra: Its engine is not installed.
    """
    engine = ENGINES[target.engine]
    aside = "or give strip.keep_macs in place of a budget in time."
    if target.engine not in RUNNERS:
        raise BudgetError(
            f"target.engine = {target.engine} cannot be measured layer by layer yet; "
            f"{', '.join(RUNNERS)} can. Take one of these, {aside}"
        )
    if target.precision not in engine.precisions:
        raise BudgetError(
            f"target.precision = {target.precision} cannot be measured with {target.engine}: "
            f"{engine.otherwise}. Take {' or '.join(engine.precisions)}, {aside}"
        )
    import_engine(engine.module, engine.package)
    if target.precision == "bf16" and not computes_bf16():
        raise BudgetError(
            f"target.precision = bf16: {target.engine} computes in float32 on this processor, "
            f"which has no bfloat16. Take another precision, {aside}"
        )


def clock_of(target: TargetSettings) -> str:
    """Name of the clock that suits a target: time on the CPU, or time that passes.

    Only the first is steady on a busy machine, and it adds up what several threads take.
    """
    return "process" if target.num_threads == 1 else "wall"


def measure_grids(
    layers: Mapping[LayerShape, Varies],
    block: int,
    target: TargetSettings,
    store: Store,
    make: Make,
    told: Callable[[str], None] = lambda _name: None,
) -> dict[LayerShape, Grid]:
    """Times of each layer at a few widths; what ``store`` knows is not measured again.

    Args:
        layers: Shapes at full width, and along which axes they may shrink.
        block: Channels that the engine handles at once; 1 where widths go by ones.
        target: Engine, precision, batch and threads.
        store: Times known before; new ones are added.
        make: Makes what is timed of a layer's copies.
        told: Hears each layer's name once its times are known.
    """
    grids = {}
    for shape, varies in layers.items():
        # A linear layer is no part of the blocked layout.
        step = block if shape.kernel else 1
        outs, intos = widths_of(shape, step, varies)
        points = [shape.at(out, into) for out, into in itertools.product(outs, intos)]
        unknown = [point for point in points if point.name not in store.times]
        for some in together(unknown):
            times = measure(some, target, CLOCKS[clock_of(target)], make)
            store.add({point.name: ms for point, ms in zip(some, times, strict=True)})
        ms = np.array([store.times[point.name] for point in points])
        grids[shape] = Grid(outs, intos, ms.reshape(len(outs), len(intos)), step)
        told(shape.name)
    return grids


def together(points: Sequence[LayerShape]) -> list[list[LayerShape]]:
    """Points in groups whose copies hold no more than ``HELD_BYTES``, or of one point."""
    groups: list[list[LayerShape]] = []
    held = 0
    for point in points:
        needed = point.out * point.into * math.prod(point.kernel) * FLOAT_BYTES * (COPIES + 1)
        if not groups or held + needed > HELD_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(point)
        held += needed
    return groups


def widths_of(
    shape: LayerShape, block: int, varies: Varies
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of axis 0 and axis 1 to measure: whole blocks and whole groups, up to the dense."""
    whole_groups = math.lcm(block, shape.group_out or shape.groups)
    axes = ((shape.out, whole_groups), (shape.into, block))
    outs, intos = (
        tuple(sorted({min(top, -(-math.ceil(share * top) // step) * step) for share in SHARES}))
        if vary
        else (top,)
        for (top, step), vary in zip(axes, varies, strict=True)
    )
    return outs, intos


def measure(
    points: Sequence[LayerShape], target: TargetSettings, clock: Clock, make: Make
) -> list[float]:
    """Milliseconds of each layer: what ``COPIES`` of it take more than one, by their number.

    All take turns in one process, so that what slows the machine for a while slows all.
    """
    with ExitStack() as stack, no_collection():
        runners = [_pair(point, target.batch_size, make, stack) for point in points]
        best = np.full((len(points), 2), np.inf)
        started = time.monotonic()
        for turn in range(MAX_TURNS):
            if turn >= MIN_TURNS and time.monotonic() - started > SHAPE_SECONDS:
                break
            for number, pair in enumerate(runners):
                for side, runner in enumerate(pair):
                    ms = min(_time_ms(runner, clock) for _ in range(TURN))
                    best[number, side] = min(best[number, side], ms)
    # Noise can make several copies of a tiny layer quicker than one, and no layer takes no time.
    least = best[:, 1] / COPIES * LEAST_SHARE
    more = (best[:, 1] - best[:, 0]) / (COPIES - 1)
    times: list[float] = np.maximum(more, least).tolist()
    return times


def _pair(point: LayerShape, batch_size: int, make: Make, stack: ExitStack) -> tuple[Runner, ...]:
    """Runners of one copy and of several, prepared and warm."""
    batch, pair = batch_of(point, batch_size), []
    for num_copies in (1, COPIES):
        # The file is read until the runner is prepared, and not needed afterwards.
        with tempfile.TemporaryDirectory() as folder:
            side = side_of(point, num_copies, batch_size, Path(folder))
            runner = make(side, batch)
        stack.callback(runner.close)
        runner.run()
        pair.append(runner)
    return tuple(pair)


def _time_ms(runner: Runner, clock: Clock) -> float:
    started = clock()
    runner.run()
    return (clock() - started) * MS_PER_SECOND

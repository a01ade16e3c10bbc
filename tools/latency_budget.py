"""A budget in time: half of the latency asked, and what came of it."""

import tempfile
from functools import partial
from pathlib import Path

from latency_macs import DENSE, multiple_of
from latency_networks import NETWORKS, Dense
from latency_timing import Figures, How, side_by_side

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.timer import random_batch, timing_facts
from compressor.console import Console
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.stages.in_time import Measuring, Problem, solve_in_time
from compressor.strip.budget import StripSettings
from compressor.strip.target import TargetSettings

KEEP_LATENCY = 0.5
SLIM = "slim"


def measured(network: str, num_threads: int, how: How) -> Figures:
    """The record of the budget, and the two networks measured once more when all is over.

    The solver measures several networks and takes the one that came nearest, so what it measured
    of that one is a little too good; ``again`` is not.

    Args:
        network: Of ``NETWORKS``.
        num_threads: Of the engine.
        how: Rounds and limits of the second look; the solver has its own.

    Raises:
        BudgetError: Even the floors take longer.
    """
    image_shape, dense = NETWORKS[network].image_shape, Dense.of(NETWORKS[network])
    target, export = TargetSettings(num_threads=num_threads), ExportSettings()
    multiple = multiple_of("auto", num_threads)
    settings = StripSettings(keep_latency=KEEP_LATENCY, round_to=multiple.channels)
    problem = Problem(dense.model, dense.couplings, dense.cost, dense.path, settings)
    around = Measuring(target, image_shape, export, Console(), how.layers)
    structure, record = solve_in_time(problem, around)
    slim, timing = dense.slim(structure), how.timing(num_threads)
    with tempfile.TemporaryDirectory() as folder:
        makers = {}
        for name, model in ((DENSE, dense.model), (SLIM, slim)):
            path = Path(folder) / f"{name}.onnx"
            export_onnx(model, image_shape, path, export)
            makers[name] = partial(OnnxRuntimeRunner, path, num_threads)
        latency = side_by_side(makers, DENSE, random_batch(1, image_shape), timing)
    return {
        "round_to": multiple.channels,
        "image_shape": list(image_shape),
        "macs_share": dense.macs(slim) / dense.macs(dense.model),
        "widths": structure.widths(),
        "budget": record,
        "again": latency,
        "method": {"clock": timing.clock, "batch": 1, **timing_facts(timing)},
    }

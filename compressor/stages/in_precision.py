"""A network, or a layer of it, as the target runs it: in its precision, in its engine.

Made for timing alone: the scales of an int8 file change its outputs and not its time, so one random
batch calibrates it.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from compressor.bench.engines import OPENERS, RUNNERS, Side
from compressor.bench.openvino_runner import OpenVinoRunner
from compressor.bench.runner import Runner
from compressor.bench.staircase import Make
from compressor.engines import Precision
from compressor.export.profiles import profile_for
from compressor.export.quant import Quantised
from compressor.export.quant_calibration import QuantSettings
from compressor.strip.target import TargetSettings


@dataclass(frozen=True)
class Way:
    """How a network comes to be run in one precision.

    Attributes:
        told: In words, for the record.
        open: Makes a runner of a network, a batch of its inputs, the target, and a folder that is
            there until the runner is prepared.
    """

    told: str
    open: Callable[[Side, Tensor, TargetSettings, Path], Runner]


def _int8(side: Side, batch: Tensor, target: TargetSettings, folder: Path) -> Runner:
    path, once = folder / "int8.onnx", QuantSettings(num_images=len(batch), batch_size=len(batch))
    with Quantised(profile_for(target.engine, "int8"), side.onnx_path, batch, once) as quantised:
        quantised.write(path, frozenset())
    return OPENERS[target.engine](path, target.num_threads)


WAYS: Mapping[Precision, Way] = {
    "fp32": Way(
        "the float32 network",
        lambda side, _batch, target, _folder: RUNNERS[target.engine](side, target.num_threads),
    ),
    "bf16": Way(
        "the float32 file, computed in bfloat16 by OpenVINO's hint, read back",
        lambda side, _batch, target, _folder: OpenVinoRunner(
            side.onnx_path, target.num_threads, "bf16"
        ),
    ),
    "int8": Way(
        "an int8 file of the engine's profile, calibrated with one random batch, on which no time "
        "depends",
        _int8,
    ),
}
"""The one list of precisions that are timed on a CPU."""


def maker(target: TargetSettings) -> Make:
    """What makes runners for ``target``, which ``check_measurable`` has taken.

    It raises what the writing of a file in the precision and the engine raise.
    """

    def make(side: Side, batch: Tensor) -> Runner:
        with tempfile.TemporaryDirectory() as folder:
            runner = WAYS[target.precision].open(side, batch, target, Path(folder))
            runner.prepare(batch)
        return runner

    return make

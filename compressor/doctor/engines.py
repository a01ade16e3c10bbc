"""The dense and the slim network of a run, profiled in one of the engines."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.bench.blocks import onnxruntime_block
from compressor.bench.stopwatch import CLOCKS, stopwatch
from compressor.doctor import tensorrt_times
from compressor.doctor.kernels import Images, KernelTimes, unplaced_share
from compressor.doctor.names import DoctorEngine
from compressor.doctor.onnxruntime_times import OVERHEAD_US, profile_files
from compressor.doctor.settings import DoctorSettings
from compressor.doctor.tensorrt_times import build_plans, profile_plans
from compressor.engines import Precision
from compressor.strip.target import TargetSettings, multiple_for
from compressor.tensorrt.module import Kit, open_kit

Files = Mapping[str, Path]

PRECISION: Precision = "fp32"
"""That of the files: both networks are there in it, whatever the target is."""

ORDER = "dense and slim by turns, the first runs dropped"
STATISTIC = "fastest run of each kernel"

NOT_MEASURED = (
    "TensorRT's layers could not be timed where this was written: how they are read, the limit of "
    "fixed cost and the multiple of channels follow its description"
)


@dataclass(frozen=True)
class Profiled:
    """What the networks took, and how that was found.

    Attributes:
        times: By the network's name.
        method: For the record; ``engine``, ``files``, ``precision`` (that of the files), ``block``,
            ``overhead_us``, ``unplaced_share`` (of each network's time in layers that hold no node
            of the file) and ``unmeasured`` (what rests on no measurement of ours, or None) are
            always there.
    """

    times: dict[str, KernelTimes]
    method: dict[str, Any]


def profile_networks(
    files: Files, images: Images, settings: DoctorSettings, kit: Kit | None
) -> Profiled:
    """Profile ``files`` on ``images`` in the engine of ``settings``.

    Args:
        files: The ONNX files by name.
        images: One batch, shape ``(batch, channels, height, width)``.
        settings: How.
        kit: TensorRT; looked for if it is None and asked for.

    Raises:
        ModelError: There is no device for the engine, said before anything is built, or it cannot
            run a file.
        CheckError: An output is not finite, or a plan does not say what its layers are.
        MissingExtra: The engine is not installed.
    """
    return PROFILERS[settings.engine](files, images, settings, kit)


def _in_onnxruntime(
    files: Files, images: Images, settings: DoctorSettings, _kit: Kit | None
) -> Profiled:
    watch = stopwatch(settings.clock, CLOCKS[settings.clock])
    times = profile_files(files, images, settings.num_threads, settings.runs, watch)
    method = {
        **settings.model_dump(exclude={"clock"}),  # told by ``priority``
        **_of_files(files),
        "block": onnxruntime_block(),
        "overhead_us": OVERHEAD_US,
        "clock": "ONNX Runtime's profiler: wall time, whole microseconds",
        "statistic": STATISTIC,
        "order": ORDER,
        "priority": watch.facts(),
        "unplaced_share": {name: unplaced_share(found) for name, found in times.items()},
        "unmeasured": None,
    }
    return Profiled(times, method)


def _in_tensorrt(
    files: Files, images: Images, settings: DoctorSettings, kit: Kit | None
) -> Profiled:
    kit = open_kit("tensorrt") if kit is None else kit
    with tempfile.TemporaryDirectory() as folder:
        plans = build_plans(kit, files, settings.batch_size, Path(folder))
        times = profile_plans(kit, plans, files, images, settings.runs)
    method = {
        **settings.model_dump(exclude={"num_threads", "clock"}),
        **_of_files(files),
        "engine_version": kit.version,
        "gpu": kit.cuda.gpu().model_dump(mode="json"),
        "block": plan_multiple(),
        "overhead_us": tensorrt_times.OVERHEAD_US,
        "clock": "TensorRT's profiler: time of each layer on the GPU",
        "statistic": STATISTIC,
        "order": ORDER,
        "plans": "built for this batch with default settings, TF32 allowed, and dropped",
        "modules": "a layer that holds nodes of several modules counts for one of them",
        "unplaced_share": {name: unplaced_share(found) for name, found in times.items()},
        "unmeasured": NOT_MEASURED,
    }
    return Profiled(times, method)


def plan_multiple() -> int:
    """Channels that suit TensorRT in the precision of the files; not measured."""
    target = TargetSettings(engine="tensorrt", precision=PRECISION)
    return multiple_for("auto", target, onnxruntime_block, "").channels


def _of_files(files: Files) -> dict[str, Any]:
    return {"files": {name: path.name for name, path in files.items()}, "precision": PRECISION}


PROFILERS: dict[DoctorEngine, Callable[[Files, Images, DoctorSettings, Kit | None], Profiled]] = {
    "onnxruntime": _in_onnxruntime,
    "tensorrt": _in_tensorrt,
}

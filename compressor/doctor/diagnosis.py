"""A run -> where the time of its networks goes and what would move it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor.bench.environment import environment
from compressor.bench.onnx_input import common_shape, onnx_image_shape
from compressor.bench.timer import random_batch
from compressor.doctor.advice import Case, RunFacts, advise
from compressor.doctor.classes import Class, Rates, class_of, is_overhead
from compressor.doctor.engines import profile_networks
from compressor.doctor.layer_times import LayerTime, layer_times
from compressor.doctor.settings import DoctorSettings
from compressor.errors import RunError
from compressor.run import MANIFEST
from compressor.tensorrt.module import Kit

TOP = 3
FILES = {"dense": "dense.onnx", "slim": "model.onnx"}


@dataclass(frozen=True)
class Row:
    """One layer in both networks.

    Attributes:
        name: Of the module.
        dense: None where the dense network has no layer of that name.
        slim: None where the layer was removed.
        share: Of the slim network's time, in [0, 1]; 0 where it was removed.
        kind: Its class in the slim network; None where it was removed.
        efficiency: Its MACs in a microsecond, over those of the best layer.
    """

    name: str
    dense: LayerTime | None
    slim: LayerTime | None
    share: float
    kind: Class | None
    efficiency: float


@dataclass(frozen=True)
class Finding:
    """One of the layers that hold the time: which, how much of it, why, and what would move it."""

    layer: str
    share: float
    kind: Class
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes:
        run: The run's folder.
        method: How it was profiled.
        target_precision: Of the recipe; None where a run of before does not say.
        rows: Every layer, that with the most time in the slim network first.
        top: The `TOP` layers that hold most of the time.
        dense_us: Microseconds of all kernels of the dense network.
        slim_us: The same of the slim one.
        macs_share: MACs of the slim network over those of the dense one.
        overhead_share: Share of the slim network's time in layers that are all fixed cost.
        layout_share: Share of the slim network's time in kernels that change layouts.
    """

    run: str
    method: dict[str, Any]
    target_precision: str | None
    rows: tuple[Row, ...]
    top: tuple[Finding, ...]
    dense_us: float
    slim_us: float
    macs_share: float
    overhead_share: float
    layout_share: float

    def to_json(self) -> dict[str, Any]:
        """JSON value, with the machine that it was measured on."""
        return {**asdict(self), "environment": environment()}


def examine(run: Path, settings: DoctorSettings, kit: Kit | None = None) -> Diagnosis:
    """Profile the networks that ``run`` exported, and say where the slim one's time goes.

    Args:
        run: The run's folder.
        settings: How.
        kit: TensorRT; looked for if it is None and asked for.

    Raises:
        RunError: It is no run, has no exported networks, or its records are damaged.
        ModelError: A file cannot be run, the two take different images, or there is no GPU for
            TensorRT.
        CheckError: An output is not finite, or a plan does not say what its layers are.
        MissingExtra: The engine is not installed.
    """
    files, facts = exported_files(run), RunFacts.read(run)
    shape = common_shape({str(path): onnx_image_shape(path) for path in files.values()})
    images = random_batch(settings.batch_size, shape).numpy()
    profiled = profile_networks(files, images, settings, kit)
    dense, slim = (
        layer_times(files[name], profiled.times[name], settings.batch_size)
        for name in ("dense", "slim")
    )
    return diagnose(str(run), profiled.method, (dense, slim), facts)


def exported_files(run: Path) -> dict[str, Path]:
    """The dense and the slim network of a run.

    Raises:
        RunError: It is no run, or was not exported.
    """
    if not (run / MANIFEST).is_file():
        raise RunError(f"{run} is not the folder of a run: it has no {MANIFEST}. Give one with it.")
    files = {name: run / "export" / file for name, file in FILES.items()}
    for path in files.values():
        if not path.is_file():
            raise RunError(
                f"{path}: there is no such file. Export first: `compressor export RECIPE --out "
                f"{run}`."
            )
    return files


def diagnose(
    run: str,
    method: dict[str, Any],
    layers: tuple[dict[str, LayerTime], dict[str, LayerTime]],
    facts: RunFacts,
) -> Diagnosis:
    """What follows from the layers of the dense and of the slim network."""
    dense, slim = layers
    rates = Rates.of([*dense.values(), *slim.values()])
    slim_us = sum(layer.us for layer in slim.values())
    rows = sorted(
        (
            _row(name, (dense.get(name), slim.get(name)), rates, method["block"], slim_us)
            for name in dict.fromkeys((*slim, *dense))
        ),
        key=lambda row: -row.share,
    )
    findings = [
        _finding(row, row.slim, method, facts) for row in rows[:TOP] if row.slim is not None
    ]
    overhead_us = sum(layer.us for layer in slim.values() if is_overhead(layer))
    return Diagnosis(
        run=run,
        method=method,
        target_precision=facts.precision,
        rows=tuple(rows),
        top=tuple(findings),
        dense_us=sum(layer.us for layer in dense.values()),
        slim_us=slim_us,
        macs_share=_share(_macs(slim), _macs(dense)),
        overhead_share=_share(overhead_us, slim_us),
        layout_share=_share(sum(layer.layout_us for layer in slim.values()), slim_us),
    )


def _row(
    name: str,
    pair: tuple[LayerTime | None, LayerTime | None],
    rates: Rates,
    block: int | None,
    slim_us: float,
) -> Row:
    dense, slim = pair
    if slim is None:
        return Row(name, dense, None, share=0.0, kind=None, efficiency=0.0)
    return Row(
        name,
        dense,
        slim,
        share=_share(slim.us, slim_us),
        kind=class_of(slim, dense, rates, block),
        efficiency=_share(slim.macs_per_us, rates.macs_per_us),
    )


def _finding(row: Row, slim: LayerTime, method: dict[str, Any], facts: RunFacts) -> Finding:
    assert row.kind is not None
    block, engine = method["block"], method["engine"]
    case = Case(slim, row.dense, row.kind, row.efficiency, block, facts, engine)
    return Finding(row.name, row.share, row.kind, advise(case))


def _macs(layers: dict[str, LayerTime]) -> int:
    return sum(layer.macs for layer in layers.values())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0

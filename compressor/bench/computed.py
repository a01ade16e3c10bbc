"""In what precision the layers of a file are written, and in what its engine computes them.

Engines widen in silence what they have no kernels for: a float16 file is then smaller, not faster.
"""

from dataclasses import dataclass
from pathlib import Path

from compressor.bench.openvino_runner import computes_bf16
from compressor.bench.subjects import Subject
from compressor.engines import ENGINES
from compressor.file_profile import read_profile
from compressor.tensorrt.graph import PRECISIONS, read_graph
from compressor.tensorrt.sidecar import read_sidecar

WIDE = "fp32"
"""What engines compute in where they do not have a precision."""


@dataclass(frozen=True)
class Computed:
    """Precisions of the convolutions and matrix products of one file on one engine.

    Attributes:
        profile: What the file says it was made as; of a plan, the file that it was built from.
        written: Precision -> layers that are at it in the file.
        computed: Precision -> layers that the engine computes in it; of a plan, as it was read
            back. ``None`` where that is not known.
        why: Why the two differ, or why the second is not known; ``None`` if neither.
    """

    profile: str | None
    written: dict[str, int]
    computed: dict[str, int] | None
    why: str | None


def computed(subject: Subject) -> Computed:
    """What ``subject``'s engine makes of the precisions of its file.

    Raises:
        ModelError: The file, or a plan's sidecar, cannot be read.
        MissingExtra: ONNX, or OpenVINO where it is to run a bfloat16 file, is not installed.
    """
    if ENGINES[subject.engine].runs == "plan":
        return _of_plan(subject.path)
    return _of_file(subject)


def _of_plan(plan: Path) -> Computed:
    sidecar = read_sidecar(plan)
    read = sidecar.precisions
    return Computed(
        sidecar.onnx_profile,
        dict(sidecar.onnx_precisions),
        None if read is None else dict(read.products),
        None if read is not None else sidecar.not_inspected,
    )


def _of_file(subject: Subject) -> Computed:
    written = read_graph(subject.path).precisions()
    in_engine: dict[str, int] = {}
    for precision, number in written.items():
        kind = precision if _has(subject.engine, precision) else WIDE
        in_engine[kind] = in_engine.get(kind, 0) + number
    why = None if in_engine == written else _why(subject.engine, written)
    return Computed(read_profile(subject.path).name, written, in_engine, why)


def _has(engine: str, precision: str) -> bool:
    """Whether the engine computes in it; what has no name of ours stays as the file calls it."""
    if precision not in PRECISIONS.values():
        return True
    if engine == "openvino" and precision == "bf16":
        return computes_bf16()
    return precision in ENGINES[engine].precisions


def _why(engine: str, written: dict[str, int]) -> str:
    if engine == "openvino" and "bf16" in written and not computes_bf16():
        return "OpenVINO computes bf16 in float32 on this processor, which has no bfloat16"
    return ENGINES[engine].otherwise

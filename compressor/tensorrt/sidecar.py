"""What stands beside a plan: what it was built with and from, so that no other is ever loaded.

A plan is machine code for one GPU model and one release, and says nothing useful where it does not
fit. The sidecar is compared before the plan is opened.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor.engines import GpuEngine
from compressor.errors import ModelError
from compressor.files import sha256, write_json
from compressor.settings import Settings
from compressor.tensorrt.cuda import Gpu
from compressor.tensorrt.precision import Precisions
from compressor.tensorrt.settings import BuilderSettings, BuildSettings, PrecisionGate
from compressor.tensorrt.sparse import SparseReport

AMPERE = (8, 0)
UNKNOWN_SOURCE = "Build it again on this machine: compressor build FILE.onnx, from its ONNX file."


class Here(Settings):
    """What runs plans on this machine."""

    flavour: GpuEngine
    """Which of the two engines."""
    version: str
    """Release of the engine."""
    cuda_build: int | None
    """Major version of CUDA it is built for; ``None`` where it is not known."""
    gpu: Gpu | None
    """The GPU; ``None`` where a plan was built without one."""


class Shapes(Settings):
    """Sizes that one input may take."""

    min: tuple[int, ...]
    """Smallest."""
    opt: tuple[int, ...]
    """Those that the plan is made fast for."""
    max: tuple[int, ...]
    """Largest."""


class Sidecar(Settings):
    """All that is known of one plan."""

    built_with: Here
    """Engine and GPU."""
    settings: BuildSettings
    """How it was built."""
    plan_sha256: str
    """Of the plan's bytes."""
    onnx_name: str
    """Name of the file it was built from."""
    onnx_sha256: str
    """Of that file's bytes."""
    onnx_profile: str | None
    """Target that the ONNX file says it was made for."""
    onnx_precisions: dict[str, int]
    """Convolutions and matrix products at each precision, read from the ONNX file."""
    shapes: dict[str, Shapes]
    """Input -> sizes it may take."""
    sparse: SparseReport | None
    """What became of ``sparse_weights``; ``None`` if they were not asked for."""
    precisions: Precisions | None
    """Read back from the plan; ``None`` if that could not be done."""
    not_inspected: str | None
    """Why the plan was not read back; ``None`` if it was."""
    warnings: tuple[str, ...]
    """What the builder warned of."""


def sidecar_path(plan: Path) -> Path:
    """Where the sidecar of a plan stands: ``net.plan`` has ``net.plan.json``."""
    return plan.with_name(f"{plan.name}.json")


def write_sidecar(plan: Path, sidecar: Sidecar) -> None:
    """Put the sidecar beside its plan, whole or not at all."""
    write_json(sidecar_path(plan), sidecar.model_dump(mode="json"))


def read_sidecar(plan: Path) -> Sidecar:
    """The sidecar of a plan.

    Raises:
        ModelError: The plan or its sidecar is missing, or the sidecar is not one of ours.
    """
    path = sidecar_path(plan)
    if not plan.is_file():
        raise ModelError(f"{plan}: there is no such plan. Build it from its ONNX file first.")
    if not path.is_file():
        raise ModelError(
            f"{plan} has no sidecar {path.name}, so what it was built with is not known. "
            f"{UNKNOWN_SOURCE}"
        )
    try:
        return Sidecar.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(
            f"{path} is no sidecar of this release ({where}: {first['msg']}). {UNKNOWN_SOURCE}"
        ) from error


def check_sidecar(plan: Path, sidecar: Sidecar, here: Here) -> None:
    """Refuse a plan that is not for this engine on this GPU, or not the one that was built.

    Args:
        plan: The plan.
        sidecar: What stands beside it.
        here: What would run it.

    Raises:
        ModelError: Says in one sentence all that differs.
    """
    differences = [text for text in compare(sidecar, here) if text is not None]
    if differences:
        raise ModelError(
            f"{plan} was built {' and '.join(differences)}. {rebuild(plan, sidecar, here.flavour)}"
        )
    if sha256(plan) != sidecar.plan_sha256:
        raise ModelError(
            f"{plan} is not the plan that its sidecar was written for. "
            f"{rebuild(plan, sidecar, here.flavour)}"
        )


def check_source(plan: Path, sidecar: Sidecar, onnx: Path) -> None:
    """Refuse a plan that was built from another file than ``onnx`` is now.

    Raises:
        ModelError: It was.
    """
    if sha256(onnx) != sidecar.onnx_sha256:
        raise ModelError(
            f"{plan} was built from another {sidecar.onnx_name} than {onnx}, which has changed "
            "since or is another file. "
            f"{rebuild(plan, sidecar, sidecar.built_with.flavour, onnx)}"
        )


def rebuild(plan: Path, sidecar: Sidecar, flavour: GpuEngine, onnx: Path | None = None) -> str:
    """The command that builds a plan again as it was built, for one line of an error.

    Args:
        plan: The plan.
        sidecar: What stands beside it.
        flavour: The engine that is to run it.
        onnx: Its file. Without it, the file of that name beside the plan, if there is one; else
            the name alone, since a sidecar says no folder.
    """
    beside = plan.with_name(sidecar.onnx_name)
    source = onnx or (beside if beside.is_file() else Path(sidecar.onnx_name))
    words = ["compressor", "build", str(source), "--engine", flavour, "--out", str(plan)]
    if (batch := sidecar.settings.batch) is not None:
        words += ["--batch", f"{batch.min},{batch.opt},{batch.max}"]
    for key, value in changed(sidecar.settings):
        words += ["--set", f"{key}={value}"]
    return f"Build it again on this machine: {shlex.join(words)}"


def changed(settings: BuildSettings) -> Iterator[tuple[str, str]]:
    """Settings but the batch that are no defaults, as the command takes them."""
    for name, field in BuilderSettings.model_fields.items():
        if (value := getattr(settings, name)) != field.default:
            yield name, as_word(value)
    if settings.gate is not None:
        for name in PrecisionGate.model_fields:
            yield f"gate.{name}", as_word(getattr(settings.gate, name))


def as_word(value: Any) -> str:
    """A value as the command takes it: words bare, several of them with commas between."""
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, tuple) else json.dumps(value)


def compare(sidecar: Sidecar, here: Here) -> tuple[str | None, ...]:
    """What differs, each as the rest of "it was built ..."; ``None`` for what fits.

    The driver is recorded and not compared: a plan does not depend on it.
    """
    built = sidecar.built_with
    if built.flavour != here.flavour:
        # The two engines have formats and releases of their own: nothing else can be compared.
        return (f"by {built.flavour}, not {here.flavour}",)
    return (
        version_difference(sidecar, here),
        cuda_difference(built, here),
        gpu_difference(sidecar, here),
    )


def version_difference(sidecar: Sidecar, here: Here) -> str | None:
    """Another release; within one major version it may fit a plan that was built so."""
    built = sidecar.built_with.version
    same_major = built.partition(".")[0] == here.version.partition(".")[0]
    if built == here.version or (sidecar.settings.version_compatible and same_major):
        return None
    return f"by {here.flavour} {built}, not {here.version}"


def cuda_difference(built: Here, here: Here) -> str | None:
    """Another build of the engine; said only where both are known."""
    if None in (built.cuda_build, here.cuda_build) or built.cuda_build == here.cuda_build:
        return None
    return f"for CUDA {built.cuda_build}, not {here.cuda_build}"


def gpu_difference(sidecar: Sidecar, here: Here) -> str | None:
    """Another GPU than the plan can run on."""
    assert here.gpu is not None, "plans are loaded where there is a GPU"
    built, level = sidecar.built_with.gpu, sidecar.settings.hardware_compatible
    if sidecar.built_with.flavour == "tensorrt-rtx":
        return portable_difference(sidecar, here.gpu)
    assert built is not None, "TensorRT builds on a GPU only"
    if level == "ampere-plus":
        return older_than_ampere(here.gpu)
    if level == "same-compute-capability":
        fits = built.capability == here.gpu.capability
    else:
        fits = (built.name, built.capability) == (here.gpu.name, here.gpu.capability)
    return None if fits else f"for the GPU {built}, not {here.gpu}"


def portable_difference(sidecar: Sidecar, gpu: Gpu) -> str | None:
    """A plan of TensorRT-RTX runs on the GPUs it names, or on Ampere and later if it names none."""
    wanted = sidecar.settings.compute_capabilities
    if not wanted:
        return older_than_ampere(gpu)
    if f"SM{gpu.capability[0]}{gpu.capability[1]}" in wanted:
        return None
    return f"for the compute capabilities {', '.join(wanted)}, not for {gpu}"


def older_than_ampere(gpu: Gpu) -> str | None:
    """A GPU before compute capability 8.0."""
    return None if gpu.capability >= AMPERE else f"for Ampere and later GPUs, not for {gpu}"

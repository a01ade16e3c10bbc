"""Which TensorRT plans a run makes of its files, and how: settings, and one build after them."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from compressor.bench.timer import BenchSettings
from compressor.engines import GpuEngine
from compressor.export.precision import PrecisionSettings
from compressor.export.profiles import PROFILES, ProfileName
from compressor.tensorrt.build import build_plan, check_flavour
from compressor.tensorrt.graph import read_graph
from compressor.tensorrt.module import Kit, check_device, open_kit
from compressor.tensorrt.precision import share_gate
from compressor.tensorrt.settings import (
    FREE_BATCH,
    MIN_SHARE,
    BatchRange,
    BuilderSettings,
    BuildSettings,
    PrecisionGate,
)
from compressor.tensorrt.sidecar import Sidecar

PlanProfile = Literal["fp32", ProfileName]
"""What plans are built from: the exported file, or one of those in other precisions."""


class PlanSettings(BuilderSettings):
    """Which TensorRT plans are built of the slim network, and how."""

    engine: GpuEngine = "tensorrt"
    """``tensorrt`` builds on a GPU and for it, ``tensorrt-rtx`` without one and for many."""
    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    profiles: tuple[PlanProfile, ...] = Field(default=(), strict=False)
    """What plans are built from: ``fp32`` is the exported file, the others are those of
    ``precision.profiles``. Empty builds none."""
    batch: BatchRange = FREE_BATCH
    """Batch sizes that the plans take."""
    min_share: float = Field(default=MIN_SHARE, ge=0.0, le=1.0)
    """Least share, of the convolutions and matrix products that are at the profile's precision in
    the file, that a plan must run at it, in [0, 1]. Layers that stay in float32 for the accuracy's
    sake are thus allowed for."""
    max_accuracy_drop: float = Field(default=0.005, ge=0.0, le=1.0)
    """Accuracy on the validation images that a plan may lose against the float32 file, in [0, 1];
    measured where there is a CUDA device. A plan that loses more ends the run: what is too coarse
    can be kept in float32 in the file alone (``precision.gate``), never in its plan."""

    @model_validator(mode="after")
    def _each_profile_once(self) -> Self:
        if len(set(self.profiles)) < len(self.profiles):
            raise ValueError(
                f"profiles names one value twice: {list(self.profiles)}. Name each once"
            )
        return self

    @model_validator(mode="after")
    def _all_run_there(self) -> Self:
        for name in self.profiles:
            if self.engine not in PROFILES[name].engines:
                raise ValueError(
                    f"profiles has {name}, which is for {' and '.join(PROFILES[name].engines)}, "
                    f"and the engine is {self.engine}. Leave it out"
                )
        return self

    @model_validator(mode="after")
    def _all_has_an_effect(self) -> Self:
        # Compared with the defaults: recipes are stored with every field.
        for name, field in type(self).model_fields.items():
            if not self.profiles and getattr(self, name) != field.default:
                raise ValueError(
                    f"{name} has no effect without plans, and profiles is empty; leave it out, or "
                    'give profiles, such as ["fp32"]'
                )
        return self

    def of_file(self, gate: PrecisionGate) -> BuildSettings:
        """How one file is built, with the gate that its precisions set."""
        shared = {name: getattr(self, name) for name in BuilderSettings.model_fields}
        return BuildSettings.model_validate({**shared, "batch": self.batch, "gate": gate})


def plan_faults(
    plans: PlanSettings, precision: PrecisionSettings, bench: BenchSettings
) -> list[str]:
    """What other sections of a recipe lack for the plans it asks for, one line each."""
    if not plans.profiles:
        return []
    written = ("fp32", *precision.profiles)
    faults = [
        f"tensorrt.profiles = {json.dumps(plans.profiles)}: there is no file in {name}, since "
        f"precision.profiles = {json.dumps(precision.profiles)}. Add it there, or leave it out."
        for name in plans.profiles
        if name not in written
    ]
    least, most = plans.batch.min, plans.batch.max
    if not all(least <= size <= most for size in bench.batch_sizes):
        faults.append(
            f"bench.batch_sizes = {json.dumps(bench.batch_sizes)}: plans take {least} to {most} "
            "images, as tensorrt.batch says. Change one of the two."
        )
    return faults


def check_buildable(settings: PlanSettings) -> None:
    """Refuse settings whose plans cannot be built on this machine.

    Raises:
        MissingExtra: The engine is not installed, or a library behind it is missing.
        ModelError: It needs a GPU and there is none, or would pass over one of the settings.
    """
    if settings.profiles:
        check_flavour(settings.engine, settings)
        check_kit(open_kit(settings.engine))


def check_kit(kit: Kit) -> None:
    """Refuse TensorRT without a GPU, which TensorRT-RTX builds without.

    Raises:
        ModelError: There is none.
    """
    if kit.flavour == "tensorrt":
        check_device(kit)


def build_profile(
    kit: Kit, onnx: Path, profile: PlanProfile, plan: Path, settings: PlanSettings
) -> Sidecar:
    """Build the file of one profile into ``plan``; on failure nothing is written.

    Raises:
        ModelError: The file cannot be built with these settings here.
        CheckError: No layer of the file is at the profile's precision, or too few of the plan are.
    """
    gate = share_gate(read_graph(onnx), PROFILES[profile].precision, settings.min_share)
    return build_plan(kit, onnx, plan, settings.of_file(gate))

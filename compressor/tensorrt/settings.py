"""How plans are built."""

from typing import Literal, Self

from pydantic import Field, model_validator

from compressor.engines import Precision
from compressor.settings import Settings

MIB = 1 << 20

HardwareCompatible = Literal["none", "ampere-plus", "same-compute-capability"]
ComputeCapability = Literal["SM75", "SM80", "SM86", "SM89", "SM120", "SM121"]


class BatchRange(Settings):
    """Batch sizes that one plan takes."""

    min: int = Field(ge=1)
    """Smallest batch, in images."""
    opt: int = Field(ge=1)
    """Batch that the plan is made fast for, in images."""
    max: int = Field(ge=1)
    """Largest batch, in images."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min <= self.opt <= self.max:
            raise ValueError(
                f"min {self.min}, opt {self.opt} and max {self.max} must not fall in this order"
            )
        return self


MIN_SHARE = 0.9
"""Least share of the layers at a precision, where none is given: what engines fuse or split of a
few layers changes the share a little."""

FREE_BATCH = BatchRange(min=1, opt=8, max=32)
"""Of a file whose batch is free, where none is given."""


class PrecisionGate(Settings):
    """What the layers must run at."""

    precision: Precision
    """The precision that was meant."""
    min_share: float = Field(default=MIN_SHARE, ge=0.0, le=1.0)
    """Least share of the convolutions and matrix products that run at it, in [0, 1]."""


class BuilderSettings(Settings):
    """How plans are built, whatever their precision and batch sizes."""

    workspace_bytes: int | None = Field(default=None, ge=MIB)
    """Most scratch memory that a layer may use, in bytes; ``None`` is all of the GPU's."""
    optimization_level: int = Field(default=3, ge=0, le=5)
    """How long the builder searches; 3 is the engine's own default."""
    avg_timing_iterations: int | None = Field(default=None, ge=1)
    """How often TensorRT times each tactic; ``None`` is 8, as in NVIDIA's command line tool, whose
    library has 1. TensorRT-RTX times nothing while it builds, and takes no number."""
    tf32: bool = True
    """Let float32 layers round their inputs to TF32 on tensor cores."""
    sparse_weights: bool = False
    """Let the builder take 2:4 sparse tactics where they are faster."""
    timing_cache: str | None = None
    """File that keeps what tactics took, read before and written after the build."""
    version_compatible: bool = False
    """Embed a lean runtime, so that other releases of the same major version load the plan. Such
    a plan holds code that loading runs: load only plans that you built."""
    hardware_compatible: HardwareCompatible = "none"
    """Build for other GPUs than this one, at the price of speed."""
    refit: bool = False
    """Let the weights be replaced later."""
    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    compute_capabilities: tuple[ComputeCapability, ...] = Field(default=(), strict=False)
    """GPUs to build for, for TensorRT-RTX alone; empty is its default, Ampere and later."""


class BuildSettings(BuilderSettings):
    """How one plan is built. Precision is no setting: it stands in the ONNX file."""

    batch: BatchRange | None = None
    """Batch sizes of a file whose batch is free; ``None`` for a file with a fixed batch."""
    gate: PrecisionGate | None = None
    """Refuse a file or a plan with fewer layers at this precision; ``None`` is no gate."""

"""What is known of the plans of a run: read back where it can be, measured where there is a GPU."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressor.bench.finite import check_finite
from compressor.bench.runner import Runner
from compressor.errors import CheckError
from compressor.tasks.task import Predict
from compressor.tensorrt.load import here
from compressor.tensorrt.module import Kit
from compressor.tensorrt.runner import TensorRTRunner
from compressor.tensorrt.settings import BatchRange
from compressor.tensorrt.sidecar import Sidecar, gpu_difference

NO_DEVICE = "there was no CUDA device to run it on"


@dataclass(frozen=True)
class PlanRecord:
    """One plan of a run.

    Attributes:
        profile: Profile of the file that it was built from.
        engine: What built it and runs it.
        label: What benchmarks call it.
        file: Name of the plan; its sidecar lies beside it.
        onnx: Name of the file that it was built from.
        sha256: Of the plan.
        num_bytes: Of the plan.
        version: Release of the engine.
        gpu: The GPU that was there; ``None`` if there was none.
        file_products: Precision -> convolutions and matrix products of the ONNX file.
        plan_products: The same, read back from the plan; ``None`` if that could not be done.
        not_inspected: Why not; ``None`` if it was.
        num_reformats: Layers of the plan that only change a layout or a type; ``None`` if it was
            not read back.
        sparse: What became of 2:4 weights, in one line; ``None`` if they were not asked for.
        sparse_warning: What is wrong with it; ``None`` if nothing is.
        num_warnings: Warnings of the builder, which stand in the sidecar.
        accuracy: On the validation images, in [0, 1]; ``None`` if it is unmeasured.
        float_accuracy: Of the float32 file on the same images; ``None`` if it is unmeasured.
        unmeasured: Why the accuracy is not measured, and so the latency neither; ``None`` if it is.
    """

    profile: str
    engine: str
    label: str
    file: str
    onnx: str
    sha256: str
    num_bytes: int
    version: str
    gpu: str | None
    file_products: dict[str, int]
    plan_products: dict[str, int] | None
    not_inspected: str | None
    num_reformats: int | None
    sparse: str | None
    sparse_warning: str | None
    num_warnings: int
    accuracy: float | None
    float_accuracy: float | None
    unmeasured: str | None

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """Accuracies on the validation images, each in [0, 1]; or why there are none.

    Attributes:
        accuracy: Of the plan.
        float_accuracy: Of the float32 file.
        unmeasured: Why the plan cannot be run here; ``None`` if it can.
    """

    accuracy: float | None = None
    float_accuracy: float | None = None
    unmeasured: str | None = None


@dataclass(frozen=True)
class PlanGate:
    """What a plan's accuracy is held against.

    Attributes:
        accuracy: On the validation images, of whatever makes logits of images.
        float_accuracy: That of the float32 file; called if a plan can be run.
        max_drop: How much less it may be, in [0, 1].
        batch: Batch sizes that plans take.
    """

    accuracy: Callable[[Predict], float]
    float_accuracy: Callable[[], float]
    max_drop: float
    batch: BatchRange


def measure(kit: Kit, plan: Path, onnx: Path, sidecar: Sidecar, gate: PlanGate) -> Measured:
    """The plan's accuracy, held against the gate; why it is unmeasured where it cannot be run.

    Raises:
        ModelError: The engine cannot run the plan on the GPU that it is for.
        CheckError: Too much accuracy is lost, or the outputs are no finite numbers.
    """
    if (reason := why_unmeasured(kit, sidecar)) is not None:
        return Measured(unmeasured=reason)
    with closing(TensorRTRunner(plan, kit, onnx=onnx)) as runner:
        accuracy = gate.accuracy(fitting(runner, gate.batch, plan.name))
    float_accuracy = gate.float_accuracy()
    check_drop(plan, accuracy, float_accuracy, gate.max_drop)
    return Measured(accuracy, float_accuracy)


def why_unmeasured(kit: Kit, sidecar: Sidecar) -> str | None:
    """Why a plan that was just built cannot be run here; ``None`` if it can.

    TensorRT-RTX builds without a GPU, and for other GPUs than the one that is there.
    """
    if not kit.cuda.is_available():
        return NO_DEVICE
    difference = gpu_difference(sidecar, here(kit))
    return None if difference is None else f"it was built {difference}"


def fitting(runner: Runner, batch: BatchRange, name: str) -> Predict:
    """Logits of a runner that takes batches of some sizes only, of however many images.

    Args:
        runner: Takes batches of ``batch.min`` to ``batch.max`` images.
        batch: The sizes.
        name: What to call the plan in an error.
    """

    def predict(images: Tensor) -> Tensor:
        logits = []
        for chunk in torch.split(images, batch.opt):
            # Too few are filled up with the last image, whose further outputs are left out.
            filler = chunk[-1:].expand(max(0, batch.min - len(chunk)), *chunk.shape[1:])
            runner.prepare(torch.cat([chunk, filler]))
            logits.append(runner.run()[: len(chunk)].to(images.device))
        outputs = torch.cat(logits)
        check_finite(outputs, name)
        return outputs

    return predict


def check_drop(plan: Path, accuracy: float, float_accuracy: float, max_drop: float) -> None:
    """Refuse a plan that loses more accuracy than may be lost.

    Raises:
        CheckError: Names both accuracies.
    """
    if accuracy < float_accuracy - max_drop:
        raise CheckError(
            f"{plan.name}: accuracy on the validation images is {accuracy:.2%}, that of the "
            f"float32 file {float_accuracy:.2%}, and tensorrt.max_accuracy_drop = {max_drop}. "
            "Leave the profile out, or raise what may be lost."
        )


def record_of(plan: Path, sidecar: Sidecar, profile: str, measured: Measured) -> PlanRecord:
    """All that is known of a plan that was built from the file of ``profile``."""
    built, read = sidecar.built_with, sidecar.precisions
    return PlanRecord(
        profile=profile,
        engine=built.flavour,
        label=f"slim {profile}, {built.flavour}",
        file=plan.name,
        onnx=sidecar.onnx_name,
        sha256=sidecar.plan_sha256,
        num_bytes=plan.stat().st_size,
        version=built.version,
        gpu=None if built.gpu is None else str(built.gpu),
        file_products=sidecar.onnx_precisions,
        plan_products=None if read is None else read.products,
        not_inspected=sidecar.not_inspected,
        num_reformats=None if read is None else read.num_reformats,
        sparse=None if sidecar.sparse is None else str(sidecar.sparse),
        sparse_warning=None if sidecar.sparse is None else sidecar.sparse.warning(),
        num_warnings=len(sidecar.warnings),
        accuracy=measured.accuracy,
        float_accuracy=measured.float_accuracy,
        unmeasured=measured.unmeasured,
    )

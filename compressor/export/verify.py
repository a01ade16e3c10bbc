"""Whether an exported file computes what the network computes."""

import math
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.runner import Runner
from compressor.bench.torch_runner import TorchRunner
from compressor.errors import CheckError
from compressor.tasks.task import Predict

FP32_TOLERANCE = 1e-4  # measured: 4e-7 to 1.2e-6 on four networks, so this is a wrong file
MIN_SPREAD = 1e-6  # outputs closer to each other than float32 rounding are equal
PARITY_BATCHES = (1, 2, 7)  # one image, the size of the export, and one that it has not seen
INPUT_SEED = 0

COMPARE_BATCH = 64
"""Images that go through a file at once when outputs or accuracy are looked at."""


@dataclass(frozen=True)
class Parity:
    """How far the file's outputs are from the network's; each figure is that of the worst batch.

    Attributes:
        max_rel_diff: Largest difference over largest output.
        relative_l2: 2-norm of the difference over that of the output.
        num_inputs: Images compared.
        spread: Largest difference between the network's outputs for two images, over its largest
            output. About 0 means that it ignores the images, and the comparison proves nothing.
    """

    max_rel_diff: float
    relative_l2: float
    num_inputs: int
    spread: float


def predictor(runner: Runner) -> Predict:
    """Logits of ``runner``, for code that measures networks: call it with images, however many.

    They go through it ``COMPARE_BATCH`` at a time: tasks hand over hundreds at once, and a file
    computed as written fuses nothing, so what lies between its nodes takes much memory.
    """

    def predict(images: Tensor) -> Tensor:
        logits = []
        for batch in torch.split(images, COMPARE_BATCH):
            runner.prepare(batch)
            logits.append(runner.run().to(images.device))
        return torch.cat(logits)

    return predict


def max_rel_diff(reference: Tensor, other: Tensor) -> float:
    """``max |reference - other| / max |reference|``, in float64; shapes must agree.

    Element by element, logits near zero differ by per cents and mean nothing.
    """
    reference, other = reference.double(), other.double()
    return _share((reference - other).abs().max(), reference.abs().max())


def relative_l2(reference: Tensor, other: Tensor) -> float:
    """``||reference - other|| / ||reference||`` in the 2-norm, in float64."""
    reference, other = reference.double(), other.double()
    return _share((reference - other).norm(), reference.norm())


def _share(difference: Tensor, size: Tensor) -> float:
    """Ratio of two numbers >= 0; of nothing it is 0 if nothing differs, and infinite otherwise."""
    if size == 0:
        return 0.0 if difference == 0 else math.inf
    return (difference / size).item()


def spread(outputs: Tensor) -> float:
    """Largest ``|row - first row|`` over the largest output; shape ``(images, ...)``."""
    return max_rel_diff(outputs, outputs[:1].expand_as(outputs))


def random_inputs(image_shape: tuple[int, int, int], seed: int = INPUT_SEED) -> list[Tensor]:
    """Normal random batches of the sizes in ``PARITY_BATCHES``; shape ``(size, *image_shape)``."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, *image_shape, generator=generator) for size in PARITY_BATCHES]


def of_all_sizes(images: Tensor) -> list[Tensor]:
    """``images`` in batches of the sizes in ``PARITY_BATCHES``, the rest ``COMPARE_BATCH`` at once.

    What was converted for another precision may also have kept a size of batch.
    """
    sizes, left = [], len(images)
    for size in (*PARITY_BATCHES, *[COMPARE_BATCH] * -(-len(images) // COMPARE_BATCH)):
        sizes.append(min(size, left))
        left -= sizes[-1]
    return [batch for batch in torch.split(images, sizes) if len(batch)]


def parity(model: nn.Module, path: Path, inputs: Iterable[Tensor]) -> Parity:
    """Compare ``model`` in evaluation mode with the file at ``path``, batch by batch.

    Args:
        model: The network that was exported; left as it is.
        path: The ONNX file.
        inputs: At least one batch; ``random_inputs`` gives some, real images are worth more.

    Raises:
        ModelError: The file cannot be run, or takes other images.
        CheckError: The outputs differ in shape.
    """
    num_threads = torch.get_num_threads()
    with (
        closing(OnnxRuntimeRunner(path, num_threads)) as onnx_runner,
        closing(TorchRunner(model, num_threads)) as torch_runner,
    ):
        return runner_parity(torch_runner, onnx_runner, inputs)


def runner_parity(reference: Runner, other: Runner, inputs: Iterable[Tensor]) -> Parity:
    """Compare two runners of one network, whatever their engines; see ``parity``."""
    outputs: list[Tensor] = []
    max_diffs, l2_diffs = [], []
    for batch in inputs:
        expected, got = _outputs(reference, other, batch)
        max_diffs.append(max_rel_diff(expected, got))
        l2_diffs.append(relative_l2(expected, got))
        outputs.append(expected)
    rows = torch.cat(outputs)
    return Parity(_worst(max_diffs), _worst(l2_diffs), len(rows), spread(rows))


def _outputs(reference: Runner, other: Runner, batch: Tensor) -> tuple[Tensor, Tensor]:
    for runner in (reference, other):
        runner.prepare(batch)
    expected, got = reference.run(), other.run()
    if expected.shape != got.shape:
        raise CheckError(
            f"For images of {list(batch.shape)} {reference.engine} gives {list(expected.shape)}, "
            f"{other.engine} gives {list(got.shape)}. Export the network again."
        )
    return expected, got


def _worst(figures: list[float]) -> float:
    """Largest figure; NaN, which ``max`` may pass over, if there is one."""
    return torch.tensor(figures, dtype=torch.float64).max().item()


def check_parity(measured: Parity, path: Path, tolerance: float = FP32_TOLERANCE) -> None:
    """Refuse a file that does not compute what its network computes.

    Args:
        measured: How far apart the two are.
        path: The file, for the error.
        tolerance: Bound on both figures; the default is that of float32.

    Raises:
        CheckError: A figure is above the bound or is no number, or the outputs do not vary.
    """
    for name, figure in (
        ("max_rel_diff", measured.max_rel_diff),
        ("relative_l2", measured.relative_l2),
    ):
        # Written so that NaN does not pass.
        if not figure <= tolerance:
            raise CheckError(
                f"{path}: {name} to the network is {figure:.2g}, above the bound {tolerance:.0e}. "
                "Do not use this file; export the network again."
            )
    if not measured.spread > MIN_SPREAD:
        raise CheckError(
            f"{path}: the network gives the same output for all {measured.num_inputs} inputs "
            f"(spread {measured.spread:.1g}), so equality proves nothing. Check its training."
        )

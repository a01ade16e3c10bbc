"""How far a converted network's outputs are from those of the float32 one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from compressor.bench.finite import check_finite
from compressor.bench.runner import Runner
from compressor.engines import Precision
from compressor.errors import CheckError
from compressor.export.verify import FP32_TOLERANCE, relative_l2

BOUNDS: dict[Precision, float] = {"fp32": FP32_TOLERANCE, "fp16": 1e-2, "bf16": 3e-2}
"""Largest relative 2-norm of the difference. Measured on a ResNet-18: 6e-7, 5e-4, 4e-3; what int8
and fp8 may differ by depends on the network, so there the task's accuracy decides alone."""


@dataclass(frozen=True)
class Figures:
    """Over all images together.

    Attributes:
        relative_l2: 2-norm of the difference over that of the float32 outputs.
        sqnr_db: Signal to quantisation noise, ``-20 log10(relative_l2)``; ``None`` without noise.
        cosine: Between all outputs as one vector, in [-1, 1].
        top1_agreement: Share of images with the same largest output, in [0, 1].
        num_images: Images compared.
    """

    relative_l2: float
    sqnr_db: float | None
    cosine: float
    top1_agreement: float
    num_images: int


def figures(
    reference: Runner,
    other: Runner,
    batches: Iterable[Tensor],
    name: str = "the converted network",
) -> Figures:
    """Compare two runners of one network on ``batches`` of images; ``name`` is that of the other.

    Raises:
        ModelError: A runner does not take the images.
        CheckError: The outputs differ in shape, or are no finite numbers.
    """
    expected: list[Tensor] = []
    got: list[Tensor] = []
    for batch in batches:
        for runner, outputs in ((reference, expected), (other, got)):
            runner.prepare(batch)
            outputs.append(runner.run())
    wanted, given = torch.cat(expected), torch.cat(got)
    if wanted.shape != given.shape:
        raise CheckError(
            f"The float32 network gives outputs of {list(wanted.shape)}, {name} of "
            f"{list(given.shape)}. Export the network again."
        )
    check_finite(wanted, "the float32 network")
    check_finite(given, name)
    return figures_of(wanted, given)


def figures_of(wanted: Tensor, given: Tensor) -> Figures:
    """Figures of outputs of shape ``(images, classes)``, both finite."""
    wanted, given = wanted.double(), given.double()
    gap = relative_l2(wanted, given)
    return Figures(
        relative_l2=gap,
        sqnr_db=-20 * math.log10(gap) if gap > 0 else None,
        cosine=functional.cosine_similarity(wanted.flatten(), given.flatten(), dim=0).item(),
        top1_agreement=(wanted.argmax(1) == given.argmax(1)).double().mean().item(),
        num_images=len(wanted),
    )


def check_distance(distance: float, precision: Precision, path: Path) -> None:
    """Refuse a file further from the float32 network than its precision explains.

    Args:
        distance: The relative 2-norm of the difference of the outputs.
        precision: That of the file.
        path: The file, for the error.

    Raises:
        CheckError: Names figure and bound.
    """
    bound = BOUNDS.get(precision)
    if bound is not None and not distance <= bound:
        raise CheckError(
            f"{path}: relative_l2 to the float32 network is {distance:.2g}, above the "
            f"bound {bound:.0e} of {precision}. Do not use this file; choose another precision."
        )

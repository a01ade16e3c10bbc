"""What OptG tells a person about a schedule or a floor that is in the way of the asked density."""

from compressor.errors import TrainError
from compressor.sparsity.candidates import Level
from compressor.sparsity.optg_masks import largest_jump
from compressor.structure import Structure

HALF = 0.5
"""Density of two of four."""

LARGE_JUMP = 0.5
"""A mask that adds more than this share of the asked sparsity at once is worth a line."""


def check_density(level: Level, density: float, floor_share: float) -> None:
    """Raise where the asked density cannot be had.

    Raises:
        TrainError: Level or floor contradict it.
    """
    if level == "2:4" and density != HALF:
        raise TrainError(
            f"sparsity.density is {density:g}, and at level 2:4 a half stays. "
            'Set it to 0.5, or choose sparsity.level "weight".'
        )
    if floor_share > density:
        raise TrainError(
            f"sparsity.floor_share is {floor_share:g}, above the density of {density:g} that it "
            "would make impossible. Lower it, or raise the density."
        )


def hasty(num_epochs: int, steepness: float) -> list[str]:
    """A line if a mask leaves out much at once, which the rest of the run may not make good.

    Args:
        num_epochs: The paper's T.
        steepness: The paper's beta, per epoch.
    """
    jump = largest_jump(num_epochs, steepness)
    if jump <= LARGE_JUMP:
        return []
    return [
        f"In {num_epochs} epochs with steepness {steepness:g} one mask leaves out {jump:.0%} of "
        "the asked sparsity at once. Train longer, or choose another sparsity.steepness."
    ]


def floored(structure: Structure, density: float) -> list[str]:
    """A line if a structure keeps more than ``density``, which floors alone can cause."""
    if structure.num_kept <= round(density * structure.num_units):
        return []
    return [
        f"{1 - structure.sparsity:.2%} is kept where {density:.2%} is asked, since no layer falls "
        "below its floor. Raise sparsity.density, or lower sparsity.floor_share."
    ]

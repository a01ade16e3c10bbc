"""What OptG tells a person about a schedule or a floor that is in the way of the asked density."""

from compressor.sparsity.optg_masks import largest_jump
from compressor.structure import Structure

LARGE_JUMP = 0.5
"""A mask that adds more than this share of the asked sparsity at once is worth a line."""


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

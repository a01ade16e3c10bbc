"""What the masked and the stripped network are compared on: given, random and of another size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from compressor.couplings.capture import Example
from compressor.couplings.coupling import Couplings
from compressor.strip.reading import Reading
from compressor.strip.trial import FORWARD_FAILURES

Kind = Literal["given", "random", "other size"]
"""Where inputs are from: the caller, a generator, or the caller's images resized."""

OTHER_SIZE_IMAGES = 8
"""Images of a second size, at most: they are there for the sizes, the others for the values."""

GROWTH = 1.5
"""How much larger the second size is."""

LARGE = 64
"""Sides of at least so many pixels stay multiples of 32, smaller ones of 2."""


@dataclass(frozen=True)
class Trials:
    """Inputs of a comparison.

    Attributes:
        batches: For each kind its batches, float32.
        sizes: The second size, or why there is none.
    """

    batches: Mapping[Kind, Sequence[Example]]
    sizes: str

    def shapes(self, kind: Kind) -> tuple[tuple[int, ...], ...]:
        """Shape of the first tensor of each batch."""
        return tuple(tuple(_tensors(batch)[0].shape) for batch in self.batches[kind])


def trials_of(
    model: nn.Module, couplings: Couplings, batches: Sequence[Example], seed: int
) -> Trials:
    """All inputs that ``model`` is compared on.

    Args:
        model: The network before anything is removed.
        couplings: Its couplings; a captured graph is of one size.
        batches: Real inputs, float32.
        seed: Of the random ones.
    """
    generator = torch.Generator().manual_seed(seed)
    given: dict[Kind, Sequence[Example]] = {
        "given": batches,
        "random": [random_like(batch, generator) for batch in batches],
    }
    resized = _resized(batches[0])
    reason = _why_one_size(model, couplings, resized)
    if resized is None or reason:
        return Trials(given, f"one size: {reason}")
    size = " x ".join(str(side) for side in resized.shape[2:])
    return Trials({**given, "other size": [resized]}, f"second size {size}")


def random_like(example: Example, generator: torch.Generator) -> Example:
    """Normal random numbers in the shape of ``example``; its whole numbers in another order."""

    def drawn(leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.is_floating_point():
            return torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(leaf.device)
        order = torch.randperm(leaf.numel(), generator=generator).to(leaf.device)
        return leaf.flatten()[order].reshape(leaf.shape)

    result: Example = tree_map(drawn, example)
    return result


def other_side(side: int) -> int:
    """A side of an image, half as long again, rounded to what networks are used to."""
    step = 32 if side >= LARGE else 2
    return max(math.ceil(GROWTH * side / step) * step, side + step)


def _resized(example: Example) -> Tensor | None:
    """Some images of ``example`` at a second size; None where it is not one batch of images."""
    tensors = _tensors(example)
    if len(tensors) != 1 or tensors[0].dim() != 4 or not tensors[0].is_floating_point():
        return None
    images = tensors[0][:OTHER_SIZE_IMAGES]
    size = [other_side(side) for side in images.shape[2:]]
    return nn.functional.interpolate(images, size=size, mode="bilinear")


def _why_one_size(model: nn.Module, couplings: Couplings, resized: Tensor | None) -> str:
    if resized is None:
        return "the inputs are not one batch of images"
    if couplings.form == "graph":
        return "the captured graph is of the size that it was captured with"
    try:
        Reading(model, torch.float32).outputs(resized)
    except FORWARD_FAILURES as failure:
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        return f"the network does not run on {list(resized.shape[2:])} pixels ({lines[0]})"
    return ""


def _tensors(example: Example) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor)]

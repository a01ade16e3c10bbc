"""The masked network against the stripped one: figures, not belief."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from compressor.couplings.capture import Example, as_arguments
from compressor.couplings.coupling import Couplings, mask_
from compressor.errors import CheckError
from compressor.strip.apply import apply
from compressor.strip.plan import make_plan
from compressor.structure import Structure

FP32_BOUND = 1e-5
FP64_BOUND = 1e-10


@dataclass(frozen=True)
class Certificate:
    """How far the outputs of the stripped network are from those of the masked one.

    A difference is relative: the largest absolute one over the largest absolute output.

    Attributes:
        max_rel_diff_fp32: Largest over all inputs in float32.
        max_rel_diff_fp64: Largest over all inputs in float64.
        inputs: Number of inputs (images) compared.
        output_spread: Standard deviation of the masked outputs over the images, relative to the
            largest output. Where it is no larger than the bound on differences, the comparison is
            empty: a network that ignores its input would pass.
    """

    max_rel_diff_fp32: float
    max_rel_diff_fp64: float
    inputs: int
    output_spread: float

    def to_json(self) -> dict[str, Any]:
        """JSON value, with the bounds it was held against."""
        return {**asdict(self), "bound_fp32": FP32_BOUND, "bound_fp64": FP64_BOUND}

    def check(self) -> None:
        """Raise unless both differences are within their bounds and the outputs vary; NaN fails.

        Raises:
            CheckError: Names the figure and the bound.
        """
        if not self.output_spread > FP32_BOUND:
            raise CheckError(
                "The certificate is empty: the outputs of the masked network vary over the images "
                f"by {self.output_spread:.3g}, the bound is {FP32_BOUND:g}. "
                "Train it before stripping."
            )
        for name, bound in (("max_rel_diff_fp32", FP32_BOUND), ("max_rel_diff_fp64", FP64_BOUND)):
            figure = getattr(self, name)
            if not figure <= bound:
                raise CheckError(
                    f"The stripped network is not the masked one: {name} is {figure:.3g}, the "
                    f"bound {bound:g}. Report this with the network: its couplings are wrong."
                )


def certify(
    model: nn.Module, couplings: Couplings, structure: Structure, batches: Sequence[Tensor]
) -> Certificate:
    """Compare ``model`` masked with ``model`` stripped, in float32 and float64, in eval mode.

    Args:
        model: The trained network; not touched.
        couplings: Its couplings.
        structure: What is kept.
        batches: Inputs, each of shape ``(images, ...)``, float32.
    """
    fp32, _ = compare(model, couplings, structure, [batch.float() for batch in batches])
    fp64, spread = compare(model, couplings, structure, [batch.double() for batch in batches])
    return Certificate(
        max_rel_diff_fp32=fp32,
        max_rel_diff_fp64=fp64,
        inputs=sum(len(batch) for batch in batches),
        output_spread=spread,
    )


@torch.no_grad()
def compare(
    model: nn.Module, couplings: Couplings, structure: Structure, batches: Sequence[Example]
) -> tuple[float, float]:
    """Largest relative difference of masked and stripped, and largest spread of the masked outputs.

    Both are computed in the type of ``batches``; NaN where any output is.
    """
    dense = copy.deepcopy(model).to(_dtype_of(batches[0])).eval()
    slim = apply(make_plan(dense, couplings, structure), dense).eval()
    # The slim network first: one that does not run fails at once.
    stripped = [output for batch in batches for output in _outputs(slim, batch)]
    mask_(dense, couplings, structure)
    masked = [output for batch in batches for output in _outputs(dense, batch)]
    pairs = list(zip(masked, stripped, strict=True))
    differences = [relative_difference(*pair) for pair in pairs]
    return _largest(differences), _largest([_spread(output) for output in masked])


def as_type(example: Example, dtype: torch.dtype) -> Example:
    """The example with its floating-point tensors in ``dtype``."""

    def converted(leaf: object) -> object:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf.to(dtype)
        return leaf

    result: Example = tree_map(converted, example)
    return result


def _dtype_of(example: Example) -> torch.dtype:
    leaves = (leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor))
    return next((leaf.dtype for leaf in leaves if leaf.is_floating_point()), torch.float32)


def _outputs(model: nn.Module, example: Example) -> list[Tensor]:
    """All tensors that a network returns, whatever they stand in."""
    leaves = tree_leaves(model(*as_arguments(example)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _largest(figures: list[float]) -> float:
    # Unlike max(), which may drop a NaN that is not the first.
    return float(torch.tensor(figures, dtype=torch.float64).max())


def relative_difference(expected: Tensor, found: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value; same shapes."""
    if expected.shape != found.shape:
        raise CheckError(
            f"The outputs have shapes {tuple(expected.shape)} and {tuple(found.shape)}. "
            "The plan removed channels of the network's output; report this."
        )
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((expected - found).abs().max() / scale)


def _spread(outputs: Tensor) -> float:
    if len(outputs) < 2:
        return 0.0
    scale = outputs.abs().max().clamp_min(torch.finfo(outputs.dtype).tiny)
    return float(outputs.std(dim=0).max() / scale)

"""How many candidates each layer keeps."""

import math
from collections.abc import Sequence

from compressor.errors import TrainError

SLACK = 1e-9
"""Of a count that should be whole: rounding of a share times a number adds no candidate."""


def erdos_renyi(shapes: Sequence[Sequence[int]], density: float) -> list[float]:
    """Densities of layers in proportion to the sum of their dimensions over the product of them.

    The Erdos-Renyi-kernel distribution of Evci et al., Rigging the Lottery (2020): large layers
    are sparser than small ones. A layer that would have more than all its weights is dense, and
    the others share what is left.

    Args:
        shapes: Of the weights, any number of dimensions.
        density: Share of all weights that is kept, in (0, 1].

    Returns:
        One density for each shape, in (0, 1]; together they keep ``density`` of all weights.
    """
    sizes = [math.prod(shape) for shape in shapes]
    factors = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    wanted, dense = density * sum(sizes), set[int]()
    while len(dense) < len(sizes):
        sparse = [i for i in range(len(sizes)) if i not in dense]
        left = wanted - sum(sizes[i] for i in dense)
        scale = left / sum(factors[i] * sizes[i] for i in sparse)
        full = {i for i in sparse if scale * factors[i] >= 1}
        if not full:
            return [1.0 if i in dense else scale * factors[i] for i in range(len(sizes))]
        # Who is full stays full: what it cannot hold only raises the share of the others.
        dense |= full
    return [1.0] * len(sizes)


def whole_counts(sizes: Sequence[int], densities: Sequence[float]) -> list[int]:
    """How many candidates each layer keeps: whole numbers with the sum that the densities have.

    Each is its layer's share rounded down or up, where the floor of one for each layer allows it.

    Args:
        sizes: Candidates of each layer, at least one.
        densities: Share that each keeps, in (0, 1].

    Raises:
        TrainError: The sum is smaller than the number of layers.
    """
    exact = [size * density for size, density in zip(sizes, densities, strict=True)]
    total = round(sum(exact))
    if total < len(sizes):
        raise TrainError(
            f"sparsity.density {sum(exact) / sum(sizes):.3g} keeps {total} of {sum(sizes)} "
            f"candidates, and {len(sizes)} layers need one each. "
            f"Raise it to {len(sizes) / sum(sizes):.3g} or more."
        )
    counts = [max(1, math.floor(value + SLACK)) for value in exact]
    for _ in range(total - sum(counts)):
        _add(counts, exact, sizes)
    for _ in range(sum(counts) - total):
        # A floor was more than a share: who is furthest above its share gives one back.
        above = [n - value if n > 1 else -math.inf for n, value in zip(counts, exact, strict=True)]
        counts[above.index(max(above))] -= 1
    return counts


def _add(counts: list[int], exact: Sequence[float], sizes: Sequence[int]) -> None:
    """One more for the layer that is furthest below its share."""
    below = [
        value - n if n < size else -math.inf
        for n, value, size in zip(counts, exact, sizes, strict=True)
    ]
    counts[below.index(max(below))] += 1

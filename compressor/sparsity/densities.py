"""How many candidates each layer keeps, how many of them are exchanged when, and which ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, named_tensors
from compressor.errors import TrainError
from compressor.sparsity.candidates import Candidates, Tensors, Units
from compressor.sparsity.carriers import carriers, is_mixed, makers
from compressor.sparsity.masks import keep_largest
from compressor.sparsity.schedules import cosine

SLACK = 1e-9
"""Of a count that should be whole: rounding of a share times a number adds no candidate."""

SETTLING_STEPS = 50
"""What has grown is judged no sooner than after so many steps, if the run is long enough for it."""

FEWEST_UPDATES = 5
"""In a run that is too short for ``SETTLING_STEPS``."""


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


def default_interval(num_steps: int, most_updates: int) -> int:
    """Steps between updates, at least one, that make ``most_updates`` or fewer of ``num_steps``."""
    wanted = max(num_steps / most_updates, SETTLING_STEPS)
    return max(1, int(min(wanted, num_steps / FEWEST_UPDATES)))


@dataclass(frozen=True)
class Schedule:
    """When candidates are exchanged, and which share p of those that are kept.

    Attributes:
        num_steps: Optimiser steps of the run.
        stop: Step after which nothing is exchanged, and at which p has reached its end.
        interval: Steps between updates.
        first: p at step 0.
        last: p at ``stop``.
    """

    num_steps: int
    stop: int
    interval: int
    first: float
    last: float

    @property
    def num_updates(self) -> int:
        """Updates of the run; none after its last step, since what grows there never trains."""
        return max(0, min(self.stop, self.num_steps - 1) // self.interval)

    def num_done(self, step: int) -> int:
        """Updates up to ``step``, with the one that follows it."""
        return min(step // self.interval, self.num_updates)

    def is_due(self, step: int) -> bool:
        """Whether an update follows this step."""
        return step % self.interval == 0 and 0 < step // self.interval <= self.num_updates

    def share(self, step: int) -> float:
        """Drop share p of an update after ``step``."""
        done = min(1.0, step / self.stop) if self.stop else 1.0
        return cosine(done, self.first, self.last)

    def shares(self) -> list[float]:
        """Drop share of every update of the run."""
        return [self.share(self.interval * (i + 1)) for i in range(self.num_updates)]


def num_exchanged(share: float, num_kept: int, size: int) -> int:
    """How many of a layer's kept candidates are dropped, and as many others grown, in one update.

    The published ``ceil(share * num_kept)``, but no more than there are others, and one stays.

    Args:
        share: Drop share p, in [0, 1].
        num_kept: Candidates that the layer keeps, at least one.
        size: All of its candidates.
    """
    return min(math.ceil(share * num_kept - SLACK), size - num_kept, num_kept - 1)


def most_explored(counts: Sequence[int], sizes: Sequence[int], shares: Sequence[float]) -> float:
    """Share of all candidates that was kept at some time, if none grows twice: a bound of R_s.

    Args:
        counts: Candidates that each layer keeps.
        sizes: All candidates of each.
        shares: Drop share of each update.
    """
    reached = 0
    for kept, size in zip(counts, sizes, strict=True):
        grown = sum(num_exchanged(share, kept, size) for share in shares)
        reached += min(size, kept + grown)
    return reached / sum(sizes) if sizes else 1.0


class Layer:
    """The candidates of one weight or coupling, and which of them are kept.

    Attributes:
        shown: What is zero where a candidate is left out.
        is_blind: What is left out has no gradient that says what it would be worth.
        mask: True is kept.
        explored: What was kept at some time.
    """

    mask: Tensor
    explored: Tensor

    def __init__(self, shown: Candidates, *makers: Candidates, is_blind: bool = False) -> None:
        self.name, self.shown, self._parts = shown.name, shown, (shown, *makers)
        self.size, self.is_blind = shown.shape.numel(), is_blind

    def set(self, mask: Tensor, explored: Tensor) -> None:
        """Begin with these masks."""
        self.mask, self.explored, self.num_kept = mask, explored, int(mask.sum())

    def worth(self, tensors: Tensors) -> Tensor:
        """Squared magnitude of each; of a unit, that of what makes it times that of its readers."""
        return torch.stack([part.dot(tensors, tensors) for part in self._parts]).prod(0)

    def exchange(self, tensors: Tensors, promise: Tensor, share: float) -> Tensor:
        """Drop those of least worth and grow the most promising others; returns who grows."""
        num = num_exchanged(share, self.num_kept, self.size)
        dropped = keep_largest(self.worth(tensors).neg().masked_fill(~self.mask, -torch.inf), num)
        grown = keep_largest(promise.masked_fill(self.mask, -torch.inf), num)
        self.mask = (self.mask & ~dropped) | grown
        self.explored = self.explored | grown
        return grown

    def bear_(self, tensors: Tensors, born: Tensors, grown: Tensor) -> None:
        """Start grown units that could not move from zero at the values they were born with."""
        if not self.is_blind:
            return
        values = {name: born[name].clone() for name in self.shown.tensors}
        self.shown.multiply_(values, grown)
        for name, value in values.items():
            tensors[name].add_(value)

    def silence_(self, tensors: Tensors) -> None:
        """Make what is left out zero, and what makes it."""
        for part in self._parts:
            part.multiply_(tensors, self.mask)

    def score(self, worth: Tensor) -> Tensor:
        """Of kept units their magnitude over the mean, plus one; of others 0. float64, on the CPU.

        Args:
            worth: Of each unit now, on any device.
        """
        norm, mask = worth.sqrt().cpu().double(), self.mask.cpu()
        mean = norm[mask].mean()
        return mask * (1.0 + (norm / mean if mean > 0 else torch.ones_like(norm)))


def of_coupling(coupling: Coupling, model: nn.Module) -> Layer:
    """The units of a coupling, left out by zeroing what reads them where that is enough.

    It is not where no layer reads them, or where a norm mixes them with others: there all that
    makes a unit is zero, and it is born again when it grows.
    """
    device = named_tensors(model)[coupling.members[0].tensor].device
    readers = coupling.of_kind("input")
    if readers and not is_mixed(coupling, model):
        parts = (readers, carriers(coupling, model))
        return Layer(*(Units(coupling, members, device) for members in parts))
    return Layer(Units(coupling, makers(coupling), device), is_blind=True)

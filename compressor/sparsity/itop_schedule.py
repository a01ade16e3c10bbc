"""When ITOP exchanges candidates, and how many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compressor.sparsity.densities import SLACK
from compressor.sparsity.schedules import cosine

SETTLING_STEPS = 50
"""What has grown is judged no sooner than after so many steps, if the run is long enough for it."""

FEWEST_UPDATES = 5
"""In a run that is too short for ``SETTLING_STEPS``."""


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

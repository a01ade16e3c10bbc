"""How densities and rates change over a run, as pure functions of the step."""

import math


def cosine(share_done: float, first: float, last: float) -> float:
    """From ``first`` to ``last`` along half a cosine.

    Args:
        share_done: Of the schedule, in [0, 1].
        first: Value at 0.
        last: Value at 1.
    """
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share_done))


def cubic_density(share_done: float, density: float) -> float:
    """From one to ``density``, most of it early, where the network still recovers.

    Zhu and Gupta, To Prune, or Not to Prune (2018), equation 1, with an initial sparsity of zero.

    Args:
        share_done: Of the schedule, in [0, 1].
        density: Share kept at the end, in [0, 1].
    """
    return density + (1 - density) * (1 - share_done) ** 3


def sigmoid(value: float) -> float:
    """``1 / (1 + exp(-value))``, without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


def late_share(epoch: float, num_epochs: int, steepness: float) -> float:
    """Share of the final sparsity, and of the rate of the scores, in epoch ``epoch`` of OptG.

    Zhang et al., Optimizing Gradient-driven Criteria in Network Sparsity (2022): a sigmoid around
    the middle of the run, so that scores are hardly changed, and nothing removed, before it.

    Args:
        epoch: From 0.
        num_epochs: T.
        steepness: The paper's beta, per epoch, > 0.
    """
    return sigmoid(steepness * (epoch - num_epochs / 2))

"""What can be said of a path before it is walked: clocks, safe steps, and what leads nowhere."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from compressor.errors import TrainError

EMPTY_FACTOR = 2.0
"""Where a unit of constant norm needs so many times the path time of the run, none will enter."""

EMPTY_AFTER_SHARE = 0.75
"""An empty support is worth a line once this share of the steps is over."""

ALONE_SHARE = 0.9
"""Where more than this share of the groups enters without any gradient, the path selects little."""


def calibrated_nu(path_time: float, entry_share: float, lam: float, kappa: float) -> float:
    """The nu at which a unit of constant norm w_g enters after ``entry_share`` of the run.

    Before it enters, such a unit has ||Z|| = t w_g / nu at path time t, and enters at lam * w_g.

    Args:
        path_time: Sum of the optimiser's learning rates over the run (kappa * alpha), > 0.
        entry_share: > 0.
        lam: The paper's lambda in units of w_g, > 0.
        kappa: Damping, > 0.
    """
    return entry_share * path_time / (kappa * lam)


def mean_speed(initial: Sequence[tuple[Tensor, float]]) -> float:
    """Mean over twins of mean ||W_g|| over lambda w_g: how fast their clocks run.

    Args:
        initial: Of each twin the initial ||W_g|| and lambda * w_g; at least one.
    """
    return sum(float(norms.mean()) / threshold for norms, threshold in initial) / len(initial)


def entry_time(norm: float, threshold: float, nu: float, kappa: float) -> float:
    """Sum of learning rates after which a group of this constant norm enters; infinite at norm 0.

    Args:
        norm: ||W_g||, >= 0.
        threshold: lambda * w_g, > 0.
        nu: > 0.
        kappa: > 0.
    """
    return kappa * threshold * nu / norm if norm else math.inf


def enters_alone(
    norms: Tensor, threshold: float, nu: float, kappa: float, path_time: float
) -> Tensor:
    """Groups that enter within ``path_time`` if no gradient ever acts on them, bool.

    Then ||W_g|| decays as exp(-t / nu), and kappa ||Z_g|| is what it has lost.

    Args:
        norms: Initial ||W_g||.
        threshold: lambda * w_g, > 0.
        nu: > 0.
        kappa: > 0.
        path_time: Sum of the learning rates, >= 0.
    """
    return norms * -math.expm1(-path_time / nu) > kappa * threshold


def safe_rate(lipschitz: float, nu: float) -> float:
    """The learning rate kappa * alpha below which Split LBI descends: ``2 / (Lip + 2 / nu)``.

    The coupling term has curvature 2 / nu along (W, Gamma). At ``lipschitz`` 0 it is nu, and a rate
    of nu or more is unstable whatever the loss.

    Args:
        lipschitz: Of the loss's gradient, >= 0.
        nu: > 0.
    """
    return 2 / (lipschitz + 2 / nu)


def check_rate(rate: float, nu: float) -> None:
    """Raise where the step is unstable for every loss.

    Raises:
        TrainError: ``rate`` is not below nu.
    """
    if rate >= safe_rate(0.0, nu):
        raise TrainError(
            f"The learning rate {rate:g} is not below nu, {nu:g}, so that W - Gamma grows in every "
            "step, whatever the loss. Lower train.lr, raise sparsity.nu or sparsity.entry_share, "
            "or train longer."
        )


def check_plain(optimizer: torch.optim.Optimizer) -> None:
    """Raise unless ``optimizer`` is gradient descent as the convergence of Split LBI assumes it.

    Raises:
        TrainError: It is not SGD, or has momentum or weight decay; names the recipe's key.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        raise TrainError(
            f'sparsity.preset is "split-lbi", and the optimiser is {type(optimizer).__name__}: it '
            'converges with plain SGD only. Set train.optimizer = "sgd".'
        )
    for group in optimizer.param_groups:
        for key in ("momentum", "weight_decay"):
            if group[key] != 0:
                raise TrainError(
                    f'sparsity.preset is "split-lbi", and {key} is {group[key]:g}: it converges '
                    f"without only. Set train.{key} = 0."
                )


def check_constant(rate: float, first: float) -> None:
    """Raise where the learning rate has left its first value.

    Raises:
        TrainError: Names both.
    """
    if rate != first:
        raise TrainError(
            f'sparsity.preset is "split-lbi", and the learning rate went from {first:g} to '
            f'{rate:g}: it converges at a constant step only. Set train.schedule = "constant" and '
            "train.warmup_epochs = 0."
        )


def forecast(
    initial: Sequence[tuple[Tensor, float]], nu: float, kappa: float, path_time: float
) -> list[str]:
    """What is known before the first step to go wrong, a line each; usually nothing.

    Args:
        initial: Of each twin the initial ||W_g|| and lambda * w_g.
        nu: > 0.
        kappa: > 0.
        path_time: Sum of the learning rates over the run.
    """
    return [*_empty_for_ever(initial, nu, kappa, path_time), *_alone(initial, nu, kappa, path_time)]


def _empty_for_ever(
    initial: Iterable[tuple[Tensor, float]], nu: float, kappa: float, path_time: float
) -> list[str]:
    times = [entry_time(float(norms.mean()), cut, nu, kappa) for norms, cut in initial]
    if not times or min(times) <= EMPTY_FACTOR * path_time:
        return []
    return [
        f"At its initial norm a group needs path time {min(times):.3g} to enter (nu {nu:.3g}), and "
        f"the run has {path_time:.3g}: the support will stay empty. Lower sparsity.nu, "
        "sparsity.entry_share or sparsity.lam, or train longer."
    ]


def _alone(
    initial: Sequence[tuple[Tensor, float]], nu: float, kappa: float, path_time: float
) -> list[str]:
    num_groups = sum(norms.numel() for norms, _ in initial)
    num_alone = sum(
        int(enters_alone(norms, cut, nu, kappa, path_time).sum()) for norms, cut in initial
    )
    if not num_groups or num_alone <= ALONE_SHARE * num_groups:
        return []
    cut = kappa * min(threshold for _, threshold in initial)
    return [
        f"{num_alone / num_groups:.0%} of the groups enter without any gradient, their initial "
        f"norms being above kappa lambda w_g ({cut:.3g} and more): the path selects little. "
        "Raise sparsity.lam."
    ]


def support_notices(kept: int, total: int, share_done: float, nu: float) -> list[str]:
    """Says when the support is empty late in the run, or full before its end.

    Args:
        kept: In the support.
        total: Of so many.
        share_done: Of the steps.
        nu: For the text.
    """
    if total == 0:
        return []
    if kept == 0 and share_done >= EMPTY_AFTER_SHARE:
        return [
            f"The support is still empty after {share_done:.0%} of the steps (nu {nu:.3g}): "
            "groups rank by how near they are. Lower sparsity.nu or sparsity.entry_share, or train "
            "longer."
        ]
    if kept == total and share_done < 1:
        return [
            f"The support is full after {share_done:.0%} of the steps (nu {nu:.3g}): "
            "the rest of the run selects nothing. Raise sparsity.nu or sparsity.entry_share, or "
            "train less."
        ]
    return []

"""E8: a network grows from few filters to as many as its path asks for.

After Fu et al., arXiv 1905.09449: it trains for some epochs along DessiLBI's path; a layer of which
nearly all filters have entered is too narrow and is widened; the new network takes over the old
weights as its leading block, while optimiser and twins start anew. Once no layer is too narrow, it
is trained as it is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from claims_digits import (
    WIDTHS,
    Run,
    accuracy,
    couplings_of,
    digits,
    epochs_of,
    horizon_of,
    network,
    settings_of,
)
from torch import nn

from compressor.count import count
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings
from compressor.tasks.classification import Classification

Figures = dict[str, Any]

FIRST_WIDTHS = (4, 4, 4)
SATURATED = 0.8
"""The paper's tau: a layer with this share of its filters in is widened."""

LEAST_STEP, GROWTH = 2, 1.1
ROUND_EPOCHS, LAST_EPOCHS = 10, 40
MOST_ROUNDS = 60
"""A network that still grows then does not end."""


def grown(seed: int, effort: float) -> Figures:
    """Accuracy and MACs of the grown network, and of a fixed one trained for as many epochs."""
    task, widths = digits(), [FIRST_WIDTHS]
    net = network(seed, widths=FIRST_WIDTHS)
    ended = False
    for part in range(max(2, round(effort * MOST_ROUNDS))):
        wider = widened(widths[-1], _round_(net, task, seed + 100 * part, effort))
        if ended := wider == widths[-1]:
            break
        net = with_leading_block(network(seed + 100 * (part + 1), widths=wider), net)
        widths.append(wider)
    epochs = epochs_of(effort, LAST_EPOCHS)
    Run(net, task, settings_of(epochs), seed).train()
    total = epochs + len(widths) * epochs_of(effort, ROUND_EPOCHS)
    fixed = network(seed)
    Run(fixed, task, settings_of(total), seed).train()
    return {
        "ended": ended,
        "rounds": len(widths),
        "widths": [list(some) for some in widths],
        "grown_accuracy": accuracy(net, task),
        "fixed_accuracy": accuracy(fixed, task),
        "grown_macs": count(net, task.example(2)).macs,
        "fixed_macs": count(fixed, task.example(2)).macs,
        "fixed_widths": list(WIDTHS),
        "epochs": total,
    }


def _round_(net: nn.Module, task: Classification, seed: int, effort: float) -> list[float]:
    """Train ``net`` for a round; the share of each layer's filters that entered.

    Nothing in the experiment fixes nu and lambda, so they are the product's own: lambda the mean
    norm at the start of the round, nu from the length of the round.
    """
    settings = settings_of(epochs_of(effort, ROUND_EPOCHS))
    method = SplitLBI(SplitLBISettings(twin="filter"), horizon_of(task, settings, seed))
    Run(net, task, settings, seed).train(method, couplings_of(net, task))
    keep = method.structure().keep
    # A coupling has the name of the layer that makes its units.
    layers = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]
    return [float(keep[name].double().mean()) for name in layers]


def widened(widths: Sequence[int], shares: Sequence[float]) -> tuple[int, ...]:
    """The widths of the next round; saturated layers have more filters, others as many."""
    return tuple(
        max(width + LEAST_STEP, int(GROWTH * width)) if share >= SATURATED else width
        for width, share in zip(widths, shares, strict=True)
    )


@torch.no_grad()
def with_leading_block(wide: nn.Module, narrow: nn.Module) -> nn.Module:
    """``wide``, its first filters and inputs taken from ``narrow``; the rest stays fresh."""
    for name, small in narrow.state_dict().items():
        large = wide.state_dict()[name]
        large[tuple(slice(size) for size in small.shape)] = small
    return wide

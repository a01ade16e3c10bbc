"""Experiments with masks over single weights on MNIST-1D: E5 and E6."""

import copy
from typing import Any

import torch
from claims_signals import EPOCHS, RATE, accuracy, settings_of, signals, trained

from compressor.couplings.coupling import Couplings
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.itop import ITOP, ITOPSettings
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings
from compressor.sparsity.optg import OptG, OptGSettings

Figures = dict[str, Any]

SPARSITIES = (0.9, 0.95, 0.98)
STEEPNESS = 0.5
"""OptG's beta, per epoch of 60; a shorter run has its middle, so a steeper course."""

DENSITIES = (0.1, 0.05)
INTERVALS: dict[str, int | None] = {"never": None, "2500": 2500, "500": 500, "100": 100, "20": 20}
LONGER_INTERVAL, TIMES = "500", 3


def supermask(seed: int, effort: float) -> Figures:
    """E5: OptG, and magnitude in both of its schedules, at three sparsities."""
    settings = settings_of(effort)
    dense, _ = trained(lambda horizon: Dense(DenseSettings(), horizon), settings, seed)
    figures: Figures = {"dense": accuracy(dense)}
    for sparsity in SPARSITIES:
        density = round(1 - sparsity, 6)
        optg = OptGSettings(
            level="weight",
            density=density,
            steepness=STEEPNESS * EPOCHS / settings.epochs,
            ranking="global",
        )
        cubic = MagnitudeSettings(
            level="weight", density=density, schedule="cubic", ranking="global"
        )
        best, of_optg = trained(lambda horizon, s=optg: OptG(s, horizon), settings, seed)
        large, of_cubic = trained(lambda horizon, s=cubic: Magnitude(s, horizon), settings, seed)
        cut = copy.deepcopy(dense)
        figures[str(sparsity)] = {
            "optg": accuracy(best),
            "magnitude_cubic": accuracy(large),
            "magnitude_one_shot": accuracy(_cut_(cut, density)),
        }
        _check(of_optg, of_cubic, density)
    return figures


def _cut_(net: torch.nn.Module, density: float) -> torch.nn.Module:
    """``net`` with all but its largest weights zero: magnitude in one shot, after the training."""
    settings = MagnitudeSettings(level="weight", density=density, ranking="global")
    method = Magnitude(settings, Horizon(num_steps=1, path_time=RATE, seed=0))
    method.attach(net, torch.optim.SGD(net.parameters(), lr=RATE), Couplings(()))
    method.detach()
    return net


def _check(one: Sparsifier, other: Sparsifier, density: float) -> None:
    """The rivals keep what they were asked to, else the comparison would say nothing."""
    for method in (one, other):
        kept = 1.0 - method.structure().sparsity
        assert abs(kept - density) < 1e-3, (method, kept, density)


def exploration(seed: int, effort: float) -> Figures:
    """E6: random growth at several intervals, and a longer run at one of them."""
    figures: Figures = {
        str(density): {
            name: _explored(density, interval, seed, effort) for name, interval in INTERVALS.items()
        }
        for density in DENSITIES
    }
    figures["longer"] = {
        str(density): _explored(density, INTERVALS[LONGER_INTERVAL], seed, effort, TIMES)
        for density in DENSITIES
    }
    return figures


def _explored(
    density: float, interval: int | None, seed: int, effort: float, times: int = 1
) -> Figures:
    """Accuracy and R_s of one run of SET as published: half of the kept at first, to the end."""
    signals()
    settings = ITOPSettings(
        level="weight",
        grow="random",
        density=density,
        distribution="erk",
        interval=None if interval is None else max(1, round(interval * effort)),
        stop_share=0.0 if interval is None else 1.0,
    )
    net, method = trained(lambda horizon: ITOP(settings, horizon), settings_of(effort, times), seed)
    explored = method.metrics()["over_parameterisation"]
    return {"accuracy": accuracy(net), "explored": explored}

"""METHODS: the one list of sparse training methods."""

from typing import Annotated, Any

from pydantic import Field

from compressor.settings import Settings
from compressor.sparsity.base import Horizon, Method, Sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.gates import Gates, GatesSettings
from compressor.sparsity.itop import ITOP, ITOPSettings
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings
from compressor.sparsity.network_slimming import NetworkSlimming, NetworkSlimmingSettings
from compressor.sparsity.optg import OptG, OptGSettings
from compressor.sparsity.random import Random, RandomSettings
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings

PLAIN = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_epochs": 0.0,
}
"""Training by plain gradient descent with a constant step."""


def _never(_settings: Settings) -> bool:
    """For methods that only rank: a budget says how much is kept."""
    return False


METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        Method(
            name="dessilbi",
            paper="Fu et al., ICML 2020, arXiv 2007.02010",
            summary="A sparse twin of the weights grows from nothing; units enter one by one.",
            settings=SplitLBISettings,
            build=SplitLBI,
            train_needs=lambda s: PLAIN if s.preset == "split-lbi" else {},
            levels=("unit", "filter", "weight", "2:4"),
            needs="a constant learning rate: a falling one stops the path's clock",
        ),
        Method(
            name="gates",
            paper="Lee, arXiv 1910.03201 and 2006.13716",
            summary="Gates with a learned threshold reach exact zero by gradient descent alone.",
            settings=GatesSettings,
            build=Gates,
            levels=("unit", "weight"),
        ),
        Method(
            name="magnitude",
            paper="Li et al., ICLR 2017, arXiv 1608.08710; Zhu and Gupta, 2018, arXiv 1710.01878",
            summary="The largest filters or weights stay, at the end or ever fewer while training.",
            settings=MagnitudeSettings,
            build=Magnitude,
            has_support=lambda s: s.density is not None or s.level == "2:4",
            levels=("unit", "weight", "2:4"),
        ),
        Method(
            name="network-slimming",
            paper="Liu et al., ICCV 2017, arXiv 1708.06519",
            summary="Norm scales shrink under an L1 norm; units with the largest scales stay.",
            settings=NetworkSlimmingSettings,
            build=NetworkSlimming,
            has_support=_never,
            needs="norms with scales",
        ),
        Method(
            name="itop",
            paper="Liu et al., ICML 2021, arXiv 2102.02887",
            summary="A sparse network that drops its smallest parts and grows others all along.",
            settings=ITOPSettings,
            build=ITOP,
            levels=("unit", "weight"),
        ),
        Method(
            name="optg",
            paper="Zhang et al., 2022, arXiv 2201.12826",
            summary="Scores learn from gradients and weights what to leave out, late in the run.",
            settings=OptGSettings,
            build=OptG,
            levels=("unit", "weight", "2:4"),
        ),
        Method(
            name="random",
            paper="a control, no paper",
            summary="Ordinary training; units drawn by chance stay.",
            settings=RandomSettings,
            build=Random,
            has_support=_never,
        ),
        Method(
            name="dense",
            paper="a baseline, no paper",
            summary="Ordinary training; all units rank the same.",
            settings=DenseSettings,
            build=Dense,
            has_support=_never,
        ),
    )
}

SparsitySettings = Annotated[
    SplitLBISettings
    | MagnitudeSettings
    | NetworkSlimmingSettings
    | GatesSettings
    | ITOPSettings
    | OptGSettings
    | RandomSettings
    | DenseSettings,
    Field(discriminator="method"),
]


def build_sparsifier(settings: SparsitySettings, horizon: Horizon) -> Sparsifier:
    """The sparsifier that ``settings`` describe, for a run of this length."""
    return METHODS[settings.method].build(settings, horizon)

"""METHODS: the one list of sparse training methods."""

from typing import Annotated, Any

from pydantic import Field

from compressor.sparsity.base import Horizon, Method, Sparsifier
from compressor.sparsity.dense import Dense, DenseSettings
from compressor.sparsity.magnitude import Magnitude, MagnitudeSettings
from compressor.sparsity.random import Random, RandomSettings
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings

METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        Method(
            name="dessilbi",
            paper="Fu et al., ICML 2020, arXiv 2007.02010",
            summary="A sparse twin of the weights grows from nothing; units enter one by one.",
            settings=SplitLBISettings,
            build=SplitLBI,
        ),
        Method(
            name="magnitude",
            paper="Li et al., ICLR 2017, arXiv 1608.08710",
            summary="Ordinary training; units with the largest filters stay.",
            settings=MagnitudeSettings,
            build=Magnitude,
        ),
        Method(
            name="random",
            paper="a control, no paper",
            summary="Ordinary training; units drawn by chance stay.",
            settings=RandomSettings,
            build=Random,
        ),
        Method(
            name="dense",
            paper="a baseline, no paper",
            summary="Ordinary training; all units rank the same.",
            settings=DenseSettings,
            build=Dense,
        ),
    )
}

SparsitySettings = Annotated[
    SplitLBISettings | MagnitudeSettings | RandomSettings | DenseSettings,
    Field(discriminator="method"),
]


def build_sparsifier(settings: SparsitySettings, horizon: Horizon) -> Sparsifier:
    """The sparsifier that ``settings`` describe, for a run of this length."""
    return METHODS[settings.method].build(settings, horizon)

"""What a recipe says of growing."""

import json
from typing import Literal

from pydantic import Field

from compressor.settings import Settings
from compressor.sparsity.catalog import SparsitySettings
from compressor.tasks.model import ModelSettings
from compressor.train.settings import SearchSettings

NewUnits = Literal["split", "fresh"]
"""What new units begin as; both keep the function."""


class GrowSettings(Settings):
    """Growing from narrow to wide, in place of a search at full width.

    The recipe's network is the widest that can come out. Rounds of training along the path follow
    each other; a coupling of which nearly all units have entered is too narrow and is widened.
    """

    start_share: float = Field(default=0.125, gt=0, le=1)
    """Share of its units that each coupling starts with, up to whole steps of its alignment."""
    saturated: float = Field(default=0.8, gt=0, le=1)
    """The paper's tau: a coupling with this share of its units in the support is widened."""
    growth: float = Field(default=1.1, ge=1)
    """A coupling is widened by this factor, by one step of its alignment at least."""
    round_epochs: int = Field(default=2, ge=1)
    """Epochs between two looks at the couplings; ``train.epochs`` bounds all rounds together."""
    entry_rounds: float = Field(default=1.0, gt=0)
    """Rounds after which a unit of constant norm enters, where sparsity.nu is not given: the clock
    of the path is that of a round, not of all of them."""
    new_units: NewUnits = "split"
    """What new units begin as. ``split``: copies of the units with the best scores, what reads them
    divided at random between both; ``fresh``: fresh filters that nothing reads yet."""
    patience: int = Field(default=1, ge=1)
    """Rounds in which nothing grows and no unit enters, after which the network has its size."""
    strips: int = Field(default=0, ge=0)
    """So many times, when nothing grows any more, units that have not entered are stripped, and the
    MACs that they had are spent on the couplings whose units entered first."""
    ceiling_macs: float = Field(default=1.0, gt=0, le=1)
    """Share of the full network's MACs that is not passed."""
    ceiling_latency: float | None = Field(default=None, gt=0, le=1)
    """Share of the full network's time on the target that is not passed; measured before each
    growth."""


def grow_faults(
    grow: GrowSettings, sparsity: SparsitySettings, train: SearchSettings, model: ModelSettings
) -> list[str]:
    """What stands against growing, a line each.

    Args:
        grow: When and how the network is widened.
        sparsity: The method of the search.
        train: The training of all rounds together.
        model: The widest network.
    """
    return [*_of_the_path(sparsity), *_of_the_clock(grow, train), *_of_the_weights(model)]


def _of_the_path(sparsity: SparsitySettings) -> list[str]:
    level = getattr(sparsity, "level", "unit")
    if sparsity.method == "dessilbi" and level == "unit":
        return []
    return [
        f"grow: the path of units says what is too narrow, and sparsity is {sparsity.method} at "
        f'level {level}. Write sparsity.method = "dessilbi" at level "unit", or leave [grow] out.'
    ]


def _of_the_clock(grow: GrowSettings, train: SearchSettings) -> list[str]:
    # Every round is a training to an end of its own, at which a falling rate were zero; and the
    # clock of the path is set by the rounds being alike.
    alike = {"schedule": "constant", "warmup_epochs": 0.0}
    faults = [
        f"train.{key} = {json.dumps(found)}: a network grows in rounds of the same rate. Write "
        f"train.{key} = {json.dumps(needed)}, or leave [grow] out."
        for key, needed in alike.items()
        if (found := getattr(train, key)) != needed
    ]
    if train.epochs <= grow.round_epochs:
        faults.append(
            f"grow.round_epochs = {grow.round_epochs}: the network is widened between rounds, and "
            f"with train.epochs = {train.epochs} there is only one. Lower it, or raise "
            "train.epochs."
        )
    return faults


def _of_the_weights(model: ModelSettings) -> list[str]:
    if model.weights is None:
        return []
    return [
        f"model.weights = {json.dumps(model.weights)}: growing starts from a few units with fresh "
        "weights and would keep little of it. Leave model.weights out, or [grow]."
    ]

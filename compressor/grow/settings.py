"""What a recipe says of growing."""

from typing import Literal

from pydantic import Field

from compressor.settings import Settings

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

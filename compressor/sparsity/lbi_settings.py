"""Settings of DessiLBI."""

from typing import Literal

from pydantic import Field, model_validator

from compressor.settings import Settings
from compressor.sparsity.candidates import Level
from compressor.sparsity.lbi_twins import Carrier, GroupWeight

ENTRY_SHARE = 0.35
"""Early enough for a path of many sizes, late enough for gradients to have selected."""


class SplitLBISettings(Settings):
    """DessiLBI; the defaults calibrate themselves from the length of the run and the weights."""

    method: Literal["dessilbi"] = "dessilbi"
    level: Level = "unit"
    """What is a group: a unit of a coupling, a filter of one convolution (single weights in linear
    layers), a single weight, or a single weight of which two of every four are kept."""
    preset: Literal["dessilbi", "split-lbi"] = "dessilbi"
    """``split-lbi`` is the form whose convergence is proven: plain gradient descent with a constant
    step; momentum, weight decay and a changing learning rate are refused."""
    rule: Literal["support", "ordered"] = "support"
    """What the structure keeps: the groups whose Gamma is not zero, or of each layer (coupling) the
    first to have entered, by ||W_g|| minus the epoch of entry, up to ``density``."""
    density: float | None = Field(default=None, gt=0, le=1)
    """Share of the groups of each layer that ``ordered`` keeps; not for ``support``."""
    twin: Carrier = "auto"
    """What carries the twin at level ``unit``: the norm scales of a coupling, or its filters.

    With batch norm filters are scale free and their twins say little, so ``auto`` takes the norm
    scales where the coupling has as many of them as producing layers, and the filters elsewhere.
    """
    group_weight: GroupWeight = "initial-norm"
    """The paper's w_g: the mean initial norm of the coupling's or layer's groups, 1 (as published),
    or the root of the number of entries of a group."""
    nu: float | None = Field(default=None, gt=0)
    """The paper's nu, inverse strength of the coupling; None calibrates it by ``entry_share``."""
    lam: float = Field(default=1.0, gt=0)
    """The paper's lambda, which multiplies w_g.

    Without gradients a group enters only if its initial norm is above kappa * lam * w_g; at 1 and
    with fresh norm scales, which are all alike, none does: only gradients select.
    """
    kappa: float = Field(default=1.0, gt=0)
    """The paper's damping; redundant with the learning rate and lam, for comparison with papers."""
    entry_share: float = Field(default=ENTRY_SHARE, gt=0)
    """Share of the path time at which a group of mean and constant norm enters, if nu is None."""

    @model_validator(mode="after")
    def _fits_together(self) -> "SplitLBISettings":
        if self.rule == "ordered" and (self.density is None or self.level == "2:4"):
            raise ValueError(
                f'rule "ordered" needs a density, and another level than "2:4", which has one; '
                f"density is {self.density}, level {self.level}"
            )
        if self.rule == "support" and self.density is not None:
            raise ValueError(
                f"density is {self.density:g}, and the support is as large as it is; "
                'leave density out, or take rule "ordered"'
            )
        if self.twin != "auto" and self.level != "unit":
            raise ValueError(
                f'twin is "{self.twin}", and at level "{self.level}" weights carry their own; '
                "leave it out"
            )
        if self.nu is not None and self.entry_share != ENTRY_SHARE:
            raise ValueError(
                f"nu is {self.nu:g} and entry_share {self.entry_share:g}, from which nu would be "
                "calibrated; leave one of them out"
            )
        return self

"""What a recipe says of ending its search early; the rules are this project's own."""

import json
from typing import Literal

from pydantic import Field, model_validator

from compressor.settings import Settings
from compressor.sparsity.catalog import METHODS, SparsitySettings
from compressor.strip.settings import StripSettings

Rule = Literal["accuracy", "stable", "share", "budget"]

READS: dict[Rule, tuple[str, ...]] = {
    "accuracy": ("delta", "norm_batches", "patience"),
    "stable": ("jaccard", "patience"),
    "share": ("share",),
    "budget": ("keep_macs", "keep_params"),
}
"""Settings that each rule reads."""


class StopSettings(Settings):
    """When the search ends before its last epoch.

    The method goes on calibrating itself by the epochs that are planned, so that a search that is
    stopped is the beginning of the one that is not, bit for bit.
    """

    rule: Rule
    """What ends the search, looked at after each epoch. ``accuracy``: the network restricted to the
    units in the support is as good as the whole one, to ``delta``, and that is twice as good as
    guessing (of two classes: right three times in four); ``stable``: the support has moved and
    hardly does any more; ``share``: so many units are in; ``budget``: the units that are
    in fill the budget of ``strip``, one in time taken for that share of the MACs."""
    delta: float = Field(default=0.01, ge=0, lt=1)
    """Validation accuracy that the masked network may be behind, as a share of the images."""
    norm_batches: int = Field(default=10, ge=0)
    """Batches over which the masked network's norm statistics are estimated before it is asked. The
    whole network's, which 0 keeps, are far from what the masked one sees. Training goes on with its
    own."""
    jaccard: float = Field(default=0.98, gt=0, le=1)
    """Units in the supports of two following epochs, those in both over those in either."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of all units that are in the support."""
    patience: int = Field(default=2, ge=1)
    """Epochs in a row in which the rule must hold."""
    keep_macs: float | None = Field(default=None, gt=0, le=1)
    """A budget of the rule's own: share of the dense network's MACs that the support needs."""
    keep_params: float | None = Field(default=None, gt=0, le=1)
    """The same of its parameters."""

    @model_validator(mode="after")
    def _all_have_an_effect(self) -> "StopSettings":
        reads = ("rule", *READS[self.rule])
        faults = [
            f"{key} = {json.dumps(found)} has no effect on rule {self.rule}; leave it out"
            for key, field in type(self).model_fields.items()
            if key not in reads and (found := getattr(self, key)) != field.default
        ]
        if None not in (self.keep_macs, self.keep_params):
            faults.append("keep_macs and keep_params are two budgets; give one")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def with_budget(self, strip: StripSettings) -> "StopSettings":
        """The same with the budget written out, so that nothing depends on ``strip`` any more."""
        if self.rule != "budget" or self.keep_macs or self.keep_params:
            return self
        if strip.keep_params is not None:
            return self.model_copy(update={"keep_params": strip.keep_params})
        return self.model_copy(update={"keep_macs": strip.keep_macs or strip.keep_latency})


def stop_faults(
    stop: StopSettings, sparsity: SparsitySettings, strip: StripSettings, epochs: int
) -> list[str]:
    """What stands against stopping a search by this rule, a line each.

    Args:
        stop: The rule.
        sparsity: The method of the search.
        strip: Holds the budget.
        epochs: Length of the search.
    """
    return [*_of_the_method(stop, sparsity), *_of_the_budget(stop, strip), *_of_time(stop, epochs)]


def _of_the_method(stop: StopSettings, sparsity: SparsitySettings) -> list[str]:
    method, level = sparsity.method, getattr(sparsity, "level", "unit")
    if not METHODS[method].has_support(sparsity):
        return [
            f"stop.rule = {stop.rule}: {method} as set under sparsity has no support to stop by. "
            'Leave [stop] out, or write sparsity.method = "dessilbi".'
        ]
    if level != "unit":
        return [
            f"stop.rule = {stop.rule}: it speaks of units in the support, and sparsity is {method} "
            f'at level {level}. Leave [stop] out, or write sparsity.level = "unit".'
        ]
    # Other supports begin full or have their final size at once, and most of these methods show
    # the network nothing else than the masked weights: such a rule would hold at the first look.
    if method != "dessilbi" and stop.rule != "stable":
        return [
            f"stop.rule = {stop.rule}: it needs a support that grows from nothing beside whole "
            f'weights, and {method} has none. Write stop.rule = "stable", or leave [stop] out.'
        ]
    return []


def _of_the_budget(stop: StopSettings, strip: StripSettings) -> list[str]:
    resolved = stop.with_budget(strip)
    if stop.rule != "budget" or resolved.keep_macs or resolved.keep_params:
        return []
    found = next((f"{key} = {value:g}" for key, value in strip.budget().items()), "none")
    return [
        f"stop.rule = budget: it needs a share as budget, and strip has {found}. Give "
        "stop.keep_macs or keep_params, or strip.keep_macs, keep_params or keep_latency."
    ]


def _of_time(stop: StopSettings, epochs: int) -> list[str]:
    if stop.patience < epochs or "patience" not in READS[stop.rule]:
        return []
    return [
        f"stop.patience = {stop.patience}: with {epochs} epochs of search the rule could end "
        "nothing. Lower stop.patience, or raise train.epochs."
    ]

"""OptG: weights train under a mask, and scores learn from the same gradients what to mask.

Zhang et al., Optimizing Gradient-driven Criteria in Network Sparsity: Gradient is All You Need
(2022), arXiv 2201.12826. Each weight w has a score s, zero at first. The network runs on
w~ = w * m, where the mask m keeps the best scores, and in epoch e of T, with P the asked sparsity,

    dL/dw = dL/dw~ * m           by the optimiser, at its rate lr_e
    dL/ds = dL/dw~ * w           by SGD with momentum, at the rate lr_e * sigmoid(beta (e - T/2))
    p_e   = P * sigmoid(beta (e - T/2))      left out in epoch e, chosen at its start

so that a score is what its weight was worth to the loss, to first order, summed over the late part
of the run, and a weight that is left out goes on being scored and may come back.

What differs from the published code: a candidate may be a unit of a coupling, whose score moves
by the sum over all that carries it, or two of every four weights may stay; units that are left
out are faint until the end (``FAINT``), since zero ones get no gradient; equal scores are
ordered by size, where the code keeps them all; no layer is ever emptied; the last mask has exactly
the asked density, however short the run; and scores are no parameters of the network.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import (
    FAINT,
    GRANULARITIES,
    Candidates,
    Tensors,
    find_candidates,
    kept_norms,
    whole_weights,
)
from compressor.sparsity.hooks import StepHooks, groups_of
from compressor.sparsity.masks import HALF, Ranking, keep_best
from compressor.sparsity.optg_masks import (
    last_mask,
    ranks,
    sparsity_share,
    two_of_four_first,
)
from compressor.sparsity.optg_notices import floored, hasty
from compressor.sparsity.optg_scored import Scored, mean_of
from compressor.sparsity.saved import check_method, saved_tensor
from compressor.sparsity.schedules import late_share
from compressor.sparsity.veil import Veil
from compressor.structure import Path, Structure

NEGLIGIBLE = 1e-9
"""Scores rest while their rate is this share of the optimiser's or less.

What they would gain is below the last digit of what they gain later, and so small that its
arithmetic is slow.
"""


class OptGSettings(Settings):
    """OptG; the defaults are those of the authors' recipes where they have one."""

    method: Literal["optg"] = "optg"
    level: Literal["unit", "weight", "2:4"] = "unit"
    """What is scored and left out: units of couplings, single weights as published, or single
    weights of which two of every four along the inputs stay."""
    density: float = Field(default=0.5, gt=0, le=1)
    """Share of all candidates kept at the end, 1 - P in the paper; at level 2:4 always a half."""
    steepness: float = Field(default=1.0, gt=0)
    """The paper's beta, per epoch: how sharply, around the middle of the run, masks and the rate of
    the scores rise."""
    score_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the scores' own SGD, which has no weight decay."""
    ranking: Ranking = "global"
    """Whether candidates compete over the whole network, as published, or within each layer or
    coupling, which then all have the asked density."""
    floor_share: float = Field(default=0.0, ge=0, le=1)
    """Share of each layer or coupling that stays in any case, at most ``density``; at least one
    candidate always does."""

    @model_validator(mode="after")
    def _fits_together(self) -> "OptGSettings":
        if self.level == "2:4" and self.density != HALF:
            raise ValueError(
                f"density is {self.density:g}, and at level 2:4 a half stays; set it to 0.5, or "
                'take level "weight"'
            )
        if self.floor_share > self.density:
            raise ValueError(
                f"floor_share is {self.floor_share:g}, above the density of {self.density:g} that "
                "it would make impossible; lower it, or raise density"
            )
        if self.floor_share > 0 and self.ranking != "global":
            raise ValueError(
                f'floor_share is {self.floor_share:g}, and with ranking "{self.ranking}" each has '
                'the asked density anyway; leave it out, or take ranking "global"'
            )
        return self


class OptG:
    """Holds scores and masks of all candidates of one model beside its optimiser."""

    def __init__(self, settings: OptGSettings, horizon: Horizon) -> None:
        self._settings, self._horizon = settings, horizon
        self._step = self._epoch = 0
        self._scored: list[Scored] = []

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Make a score for each candidate, veil what carries them and hook the optimiser's step.

        Raises:
            TrainError: A parameter that would be masked is not in the optimiser, or the optimiser
                steps through a closure.
        """
        self._tensors, self._couplings, self._optimizer = named_tensors(model), couplings, optimizer
        found = find_candidates(model, couplings, self._settings.level)
        names = dict.fromkeys(name for candidates in found for name in candidates.tensors)
        self._parameters = {name: self._tensors[name] for name in names}
        groups = groups_of(optimizer, self._parameters, "OptG would mask")
        self._veil = Veil(self._parameters)
        self._scored = [self._fresh(some, groups[some.tensors[0]]) for some in found]
        self._whole = whole_weights(model, self._settings.level)
        self._hooks: StepHooks | None = StepHooks(optimizer, self._before_step, self._after_step)

    def _fresh(self, candidates: Candidates, group: int) -> Scored:
        # Of the layout of the weights, which sums with them are faster in.
        score = torch.zeros_like(candidates.dot(self._veil.true, self._veil.true))
        kept = torch.ones_like(score)
        of_units = self._settings.level == "unit"
        return Scored(
            candidates,
            group,
            FAINT if of_units else 0.0,
            score,
            momentum=torch.zeros_like(score),
            kept=kept,
            shown=torch.ones_like(score) if of_units else kept,
        )

    def _before_step(self) -> None:
        gradients = self._veil.gradients()
        share = self._late_share()
        if share > NEGLIGIBLE:
            # All before any gradient is masked: candidates may lie in one tensor.
            for some in self._scored:
                slope = some.candidates.dot(gradients, self._veil.true)
                # Looked up at each step: an optimiser that loads a state makes new groups.
                rate = share * float(self._optimizer.param_groups[some.group]["lr"])
                some.move(slope, self._settings.score_momentum, rate)
        for some in self._scored:
            some.candidates.multiply_(gradients, some.kept)
        self._veil.lift_()

    def _after_step(self) -> None:
        self._step += 1
        horizon, last = self._horizon, last_mask(self._horizon.num_epochs)
        epoch = self._step * horizon.num_epochs // max(horizon.num_steps, 1)
        if self._epoch < min(epoch, last):
            self._choose(min(epoch, last))
        self._veil.drop_(self._show_)

    def _late_share(self) -> float:
        horizon = self._horizon
        return late_share(self._epoch, horizon.num_epochs, self._settings.steepness)

    def _choose(self, epoch: int) -> None:
        """Masks of an epoch that begins, from the scores of now."""
        self._epoch = epoch
        settings = self._settings
        share = sparsity_share(epoch, self._horizon.num_epochs, settings.steepness)
        scores = [some.score for some in self._scored]
        sizes = [some.size(self._parameters) for some in self._scored]
        if settings.level == "2:4":
            scores = [two_of_four_first(s, size) for s, size in zip(scores, sizes, strict=True)]
        density = 1 - (1 - settings.density) * share
        floors = [max(1, round(settings.floor_share * some.numel())) for some in scores]
        masks = keep_best(scores, density, floors, settings.ranking, sizes)
        for some, mask in zip(self._scored, masks, strict=True):
            some.keep(mask)

    def _show_(self, parameters: Tensors) -> None:
        for some in self._scored:
            some.candidates.multiply_(parameters, some.shown)

    def penalty(self) -> Tensor | None:
        """No penalty: scores learn from the gradients of the loss as it is."""
        return None

    def structure(self) -> Structure:
        """The masks of now; at level 2:4 also the weights without groups of four, whole.

        From the last mask on, made as the last epoch begins, exactly the asked density, or what
        the floors need. A run of a single epoch has its only mask after its last step.
        """
        chosen = self._chosen()
        return Structure({**self._whole, **chosen.keep}, chosen.granularity)

    def _chosen(self) -> Structure:
        """The masks of all candidates."""
        keep = {some.candidates.name: some.kept.bool().cpu() for some in self._scored}
        return Structure(keep, GRANULARITIES[self._settings.level])

    def path(self) -> Path:
        """Units in the order of their scores, those that are kept before those left out.

        Scores of units are comparable over couplings as they are, being sums of changes of one
        loss; the path has their place in the order of all, or of their coupling alone where it
        is ranked by itself, in (0, 1], and one more for units that are kept. Where single weights
        are chosen, units rank by the norm of the weights that stay.
        """
        if self._settings.level != "unit":
            return Path.of_scores(
                "optg", kept_norms(self._couplings, self._tensors, self.structure())
            )
        scores = [some.score.cpu() for some in self._scored]
        sizes = [some.size(self._veil.true).cpu() for some in self._scored]
        if self._settings.ranking == "global":
            places = ranks(scores, sizes)
        else:
            places = [ranks([s], [size])[0] for s, size in zip(scores, sizes, strict=True)]
        return Path.of_scores(
            "optg",
            {
                some.candidates.name: place + some.kept.cpu()
                for some, place in zip(self._scored, places, strict=True)
            },
        )

    def metrics(self) -> dict[str, float]:
        """Share kept now, share of the schedule, and mean absolute score of kept and left out."""
        kept = [some.kept.bool() for some in self._scored]
        sizes = [some.score.abs() for some in self._scored]
        return {
            "density": 1 - self._chosen().sparsity,
            "late_share": self._late_share(),
            "score_kept": mean_of(size[mask] for size, mask in zip(sizes, kept, strict=True)),
            "score_left_out": mean_of(size[~mask] for size, mask in zip(sizes, kept, strict=True)),
        }

    def notices(self) -> list[str]:
        """Says what keeps the run from the asked density, or from getting there step by step."""
        if not self._scored:
            return [f"Nothing can be left out at level {self._settings.level}: no mask is trained."]
        settings, epochs = self._settings, self._horizon.num_epochs
        lines = hasty(epochs, settings.steepness) if settings.density < 1 else []
        if self._epoch >= last_mask(epochs):
            lines += floored(self._chosen(), settings.density)
        return lines

    @torch.no_grad()
    def detach(self) -> None:
        """Remove the hooks; what is left out is zero in the model, and all state stays readable."""
        if self._hooks is None:
            return
        self._hooks.remove()
        self._hooks = None
        self._veil.lift_()
        for some in self._scored:
            some.candidates.multiply_(self._parameters, some.kept)

    def state_dict(self) -> dict[str, Any]:
        """Scores, their momenta and masks by candidate, the true weights, and the clocks."""
        scored = {some.candidates.name: some for some in self._scored}
        return {
            "method": "optg",
            "level": self._settings.level,
            "step": self._step,
            "epoch": self._epoch,
            "scores": {name: some.score for name, some in scored.items()},
            "momenta": {name: some.momentum for name, some in scored.items()},
            "masks": {name: some.kept.bool() for name, some in scored.items()},
            "true": self._veil.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s result, of which nothing is shared.

        Raises:
            TrainError: The state is of another network, method or level.
        """
        check_method(state, "optg", self._settings.level)
        for some in self._scored:
            name = some.candidates.name
            some.score.copy_(saved_tensor(state["scores"], name, some.score))
            some.momentum.copy_(saved_tensor(state["momenta"], name, some.momentum))
            some.keep(saved_tensor(state["masks"], name, some.kept))
        self._veil.load_state_dict(state["true"])
        self._veil.lift_()
        self._veil.drop_(self._show_)
        self._step, self._epoch = state["step"], state["epoch"]

"""Magnitude: what is largest stays, at the end of ordinary training or more and more during it.

Units: Li et al., Pruning Filters for Efficient ConvNets (2017), arXiv 1608.08710, with the filters
of a whole coupling taken together, as the coupled layers of a residual network must be. Weights,
and the cubic schedule: Zhu and Gupta, To Prune, or Not to Prune (2018), arXiv 1710.01878. There
each layer has the same density (ranking ``layer``); here one ranking over all is the default.

While the schedule runs, masks are taken anew from the magnitudes of now. What is left out is held
at zero, has no magnitude any more, and so never returns; nor does a unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors, unit_norms
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import (
    GRANULARITIES,
    find_candidates,
    kept_norms,
    whole_weights,
)
from compressor.sparsity.holding import entry_factors, hold_
from compressor.sparsity.hooks import StepHooks, groups_of
from compressor.sparsity.masks import HALF, Ranking, keep_best, two_of_four
from compressor.sparsity.saved import check_method, saved_tensor
from compressor.sparsity.schedules import cubic_density
from compressor.sparsity.whole import WholeNetwork
from compressor.structure import Path, Structure

NUM_UPDATES = 50
"""Updates of the masks in one cubic schedule, where no interval is given."""

LEFT_OUT = 1e-3
"""A unit that is left out ranks below this share of the lowest kept one, after any normalising."""


class MagnitudeSettings(Settings):
    """What is kept, how much of it, and when the rest goes."""

    method: Literal["magnitude"] = "magnitude"
    level: Literal["unit", "weight", "2:4"] = "unit"
    """What is kept or left out: units of couplings, single weights, or two of every four weights.

    Weights are those of convolutions and linear layers; two of four, where their inputs divide by
    four.
    """
    schedule: Literal["one-shot", "cubic"] = "one-shot"
    """``one-shot`` trains as usual and cuts at the end; ``cubic`` leaves out ever more on the way.

    One shot of units cuts nothing by itself: the budget of ``strip`` does, in the order of scores.
    """
    density: float | None = Field(default=None, gt=0, lt=1)
    """Share of units, or of weights, kept at the end (one minus the papers' final sparsity s_f).

    For weights and for the cubic schedule; two of four have their own, a half.
    """
    ranking: Ranking = "global"
    """``global`` compares over the whole network, ``layer`` keeps the same share everywhere.

    Units compare by norm over their coupling's mean. One of every coupling or layer always stays.
    """
    interval: int | None = Field(default=None, ge=1)
    """Steps between two updates of the masks in the cubic schedule (Delta t); None: 50 updates."""
    begin_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the run's steps after which the cubic schedule begins (t_0)."""
    end_share: float = Field(default=0.75, gt=0, le=1)
    """Share of the run's steps after which it has reached ``density``; the rest recovers."""

    @model_validator(mode="after")
    def _one_target(self) -> "MagnitudeSettings":
        where = f'level "{self.level}" with schedule "{self.schedule}"'
        targeted = self.level == "weight" or (self.level == "unit" and self.schedule == "cubic")
        if targeted and self.density is None:
            raise ValueError(f"{where} needs density, the share to keep, say density = 0.2")
        if not targeted and self.density is not None:
            raise ValueError(
                f"density = {self.density} has no effect at {where}: two of four keep a half, and "
                "one shot of units is cut by the budget of strip; leave it out"
            )
        if self.begin_share >= self.end_share:
            raise ValueError(
                f"begin_share = {self.begin_share} is not below end_share = {self.end_share}; "
                "lower it"
            )
        if idle := self._idle():
            raise ValueError(f"{', '.join(idle)} have no effect at {where}; leave them out")
        return self

    def _idle(self) -> list[str]:
        """Settings that are given and without effect."""
        names = [] if self.schedule == "cubic" else ["interval", "begin_share", "end_share"]
        if self.schedule == "one-shot" and self.level != "weight":
            names.append("ranking")
        fields = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields[name].default]


@dataclass(frozen=True)
class Timetable:
    """When the masks are taken anew, and how much they keep then."""

    first: int
    """Step after which the schedule begins."""
    last: int
    """Step of the last update, above ``first``."""
    interval: int
    """Steps between updates."""
    density: float
    """Share kept from ``last`` on."""

    @classmethod
    def of(cls, settings: MagnitudeSettings, num_steps: int) -> "Timetable":
        """For a run of ``num_steps`` optimiser steps."""
        last = max(1, round(settings.end_share * num_steps))
        first = min(round(settings.begin_share * num_steps), last - 1)
        interval = settings.interval or max(1, (last - first) // NUM_UPDATES)
        return cls(first, last, interval, settings.density or HALF)

    def is_due(self, step: int) -> bool:
        """Whether the masks are taken anew after optimiser step ``step`` (from 1)."""
        on_time = (step - self.first) % self.interval == 0 or step == self.last
        return self.first < step <= self.last and on_time

    def density_at(self, step: int) -> float:
        """Share kept by an update after ``step``."""
        done = (step - self.first) / (self.last - self.first)
        return cubic_density(min(max(done, 0.0), 1.0), self.density)


class Magnitude(WholeNetwork):
    """A unit ranks by the 2-norm of its filters in all producing layers, a weight by its size."""

    name = "magnitude"

    def __init__(self, settings: MagnitudeSettings, horizon: Horizon) -> None:
        self._settings, self.level = settings, settings.level
        self._table = Timetable.of(settings, horizon.num_steps)
        self._cubic = settings.schedule == "cubic"
        self._step = 0
        self._kept: dict[str, Tensor] | None = None
        self._whole: dict[str, Tensor] = {}  # weights without groups of four
        self._factors: dict[str, Tensor] = {}
        self._hooks: StepHooks | None = None

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Find what can be chosen, or raise ``TrainError``; hook the step for the schedule."""
        super().attach(model, optimizer, couplings)
        self._optimizer, self._tensors = optimizer, named_tensors(model)
        self._candidates = find_candidates(model, couplings, self._settings.level)
        self._whole = whole_weights(model, self._settings.level)
        if self._cubic or self.level == "unit":
            every = self._magnitudes().items()
            self._kept = {name: torch.ones_like(m, dtype=torch.bool) for name, m in every}
        if self._cubic:
            masked = {
                name: self._tensors[name] for some in self._candidates for name in some.tensors
            }
            groups_of(optimizer, masked, "magnitude would mask")
            self._hooks = StepHooks(optimizer, before=lambda: None, after=self._after_step)

    def _after_step(self) -> None:
        self._step += 1
        if self._table.is_due(self._step):
            self._kept = self._chosen(self._table.density_at(self._step))
            self._factors = entry_factors(self._candidates, self._kept, self._tensors)
        hold_(self._tensors, self._factors, self._optimizer)

    @torch.no_grad()
    def _chosen(self, density: float) -> dict[str, Tensor]:
        """Masks of the largest of what is still kept."""
        scores = self._magnitudes()
        if self._kept is not None:
            scores = {n: s.masked_fill(~self._kept[n], -torch.inf) for n, s in scores.items()}
        floors = [1] * len(scores)
        if self.level == "2:4":
            # The pattern stays in any case; on the way to it so do the largest of the rest.
            scores = {n: s.masked_fill(two_of_four(s), torch.inf) for n, s in scores.items()}
            floors = [score.numel() // 2 for score in scores.values()]
        masks = keep_best(list(scores.values()), density, floors, self._settings.ranking)
        return dict(zip(scores, masks, strict=True))

    def _magnitudes(self) -> dict[str, Tensor]:
        if self.level != "unit":
            return {some.name: self._tensors[some.name].abs() for some in self._candidates}
        norms = _norms(self._couplings, self._tensors)
        return {name: _over_mean(norm) for name, norm in norms.items()}

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:
        """Joint filter norm of each unit."""
        return {n: norm.cpu() for n, norm in _norms(couplings, named_tensors(model)).items()}

    def structure(self) -> Structure:
        """What is kept now; for one shot of weights, what would be if the run ended now."""
        kept = self._chosen(self._table.density) if self._kept is None else self._kept
        keep = {name: mask.cpu() for name, mask in kept.items()}
        return Structure({**self._whole, **keep}, GRANULARITIES[self._settings.level])

    def path(self) -> Path:
        """Scores of now: norms of units, or of what is kept of them; kept units come first."""
        if self.level != "unit":
            norms = kept_norms(self._couplings, self._tensors, self.structure())
            return Path.of_scores(self.name, norms)
        if self._cubic:
            return Path.of_scores(self.name, _kept_first(self._magnitudes(), self.structure()))
        return super().path()

    def metrics(self) -> dict[str, float]:
        """Share kept, while it changes."""
        return {"density": 1.0 - self.structure().sparsity} if self._cubic else {}

    def notices(self) -> list[str]:
        """Says when the schedule is one update, or the floors hold more than was asked for."""
        table, notices = self._table, []
        if self._cubic and table.interval >= (length := table.last - table.first):
            notices.append(
                f"All goes at once, after step {table.last}: sparsity.interval is "
                f"{table.interval} and the schedule has {length} steps. Lower interval."
            )
        asked = table.density * sum(some.shape.numel() for some in self._candidates)
        if self._settings.density and asked < (floor := len(self._candidates)):
            notices.append(
                f"sparsity.density {table.density:g} asks for {asked:.1f} of all candidates, but "
                f"one of each of {floor} layers or couplings always stays. Raise it."
            )
        return notices

    def detach(self) -> None:
        """Remove the hooks; weights that the structure leaves out are zero."""
        if self._hooks is not None:
            self._hooks.remove()
        if self._kept is None:
            self._kept = self._chosen(self._table.density)
            factors = entry_factors(self._candidates, self._kept, self._tensors)
            hold_(self._tensors, factors, self._optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Step, and the masks of the cubic schedule."""
        masks = dict(self._kept or {}) if self._cubic else {}
        return {**super().state_dict(), "step": self._step, "kept": masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; a ``TrainError`` if it is of another method, level or network."""
        check_method(state, self.name, self.level)
        if self._cubic and self._kept is not None:
            saved = state["kept"]
            self._kept = {name: saved_tensor(saved, name, m) for name, m in self._kept.items()}
            self._factors = entry_factors(self._candidates, self._kept, self._tensors)
        self._step = state["step"]


def _norms(couplings: Couplings, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {c.name: unit_norms(tensors, c.of_kind("filter")) for c in couplings.free}


def _over_mean(norms: Tensor) -> Tensor:
    """Norms over their mean; ones where all are zero."""
    mean = norms.mean()
    return torch.where(mean > 0, norms / mean, torch.ones_like(norms))


def _kept_first(scores: Mapping[str, Tensor], structure: Structure) -> dict[str, Tensor]:
    """Scores whose left-out units, in their order, lie below those of all kept ones."""
    scores = {name: score.cpu().double() for name, score in scores.items()}
    kept = [score[structure.keep[name]] for name, score in scores.items()]
    low = LEFT_OUT * min((some.min() for some in kept), default=torch.zeros(()))
    return {n: torch.where(structure.keep[n], s, low * s / (1 + s)) for n, s in scores.items()}

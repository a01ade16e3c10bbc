"""Differentiable sparsification: gates that reach exact zero by gradient descent alone.

Lee, Differentiable Sparsification for Deep Neural Networks, arXiv 1910.03201, for units; its
companion, arXiv 2006.13716, for single weights. A set of gates, one for each unit of a coupling,
has free scalars alpha_i and one beta:

    gamma_i = exp(alpha_i)
    a_i     = max(0, gamma_i - sig(beta) * sum_j gamma_j)      (competitive: over their mean)
    w~_i    = sign(w_i) * max(0, |w_i| - sig(beta) * ||w||_1)  (for the weights of one tensor)

and loss + lambda * R is minimised, R being the l_p quasi-norm of a, or of w~. The network has a_i
times the entries that carry unit i, or w~, in the place of its parameters. Nothing selects.

What differs from the papers: gates start at one, and what is shown of weights at the weights, so
that the network starts as it was. sig(beta) stays below ``GUARD`` times the largest share, without
which whole layers die. R has a factor that makes lambda independent of the number of gates. And
beta, whose gradient is a sum over all gates of its set, has a rate that is smaller by their number
times the square of their mean size at the start, so that it moves as fast as they do.
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
    GRANULARITIES,
    Candidates,
    Tensors,
    find_candidates,
    kept_norms,
)
from compressor.sparsity.gate_functions import Flow, Form, Pull, quasi_norm
from compressor.sparsity.gate_sets import (
    GateSet,
    UnitGates,
    WeightGates,
    at_guard,
    introduce,
    share_of_threshold,
)
from compressor.sparsity.hooks import StepHooks, groups_of
from compressor.sparsity.saved import check_method, saved_tensor
from compressor.sparsity.veil import Veil
from compressor.structure import Path, Structure

STRENGTHS = {"unit": 0.005, "weight": 1e-4}
"""The paper's lambda where a recipe has none, by level."""

LATE = 0.75
"""Gates that are all alive are worth a line once this share of the steps is over."""

BELOW = 0.5
"""Score of a gate that just fails its threshold, over the lowest score of those that pass."""


class GatesSettings(Settings):
    """Differentiable sparsification; how much stays follows from ``strength``."""

    method: Literal["gates"] = "gates"
    level: Literal["unit", "weight"] = "unit"
    """Gates on units of couplings, or a threshold for each weight tensor."""
    form: Form = "competitive"
    """Of gates on units: over their mean, or ``independent`` as they are.

    Behind and before norms a common factor of gates changes nothing, and independent ones shrink
    together; they need about a third of the strength.
    """
    flow: Flow = "plain"
    """What flows back through max(0, .): ``rectified`` lets what is left out return."""
    p: float = Field(default=0.5, gt=0, le=1)
    """Exponent of the quasi-norm R; below 1 it pulls harder at what is small."""
    strength: float | None = Field(default=None, ge=0)
    """The paper's lambda; None takes one after the level, for a run of hundreds of steps.

    A short run needs more: 0.01 to 0.02 for units in about a hundred steps.
    """
    rate: float = Field(default=1.0, gt=0)
    """Learning rate of alpha and beta over the optimiser's; with AdamW, whose is small, 20 or more.
    """
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of alpha and beta, which have no weight decay."""

    @model_validator(mode="after")
    def _pulls(self) -> "GatesSettings":
        if self.level == "unit" and self.form == "competitive" and self.p == 1:
            raise ValueError(
                "form is competitive and p is 1: the sum of competitive gates is constant, so "
                "nothing would pull; lower p, or take independent gates"
            )
        if self.level == "weight" and self.form == "independent":
            raise ValueError(
                'form is "independent", which only gates on units can be, and level is "weight"; '
                "leave form out: the threshold makes weights compete"
            )
        return self


class Gates:
    """Holds the gates of one model beside its optimiser.

    The parameters always hold what is shown, base times gate. So there is nothing left to fold when
    training is over: ``detach`` leaves a plain network with the same outputs, bit for bit.
    """

    def __init__(self, settings: GatesSettings, horizon: Horizon) -> None:
        self._settings, self._horizon, self._step = settings, horizon, 0
        strength = STRENGTHS[settings.level] if settings.strength is None else settings.strength
        self._pull = Pull(strength, settings.p, settings.form, settings.flow)
        self._sets: list[GateSet] = []

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Put a gate on every unit or a threshold under every weight tensor; hook the step.

        Raises:
            TrainError: A gated parameter is not in the optimiser, or a tensor is all zero.
        """
        self._couplings, self._optimizer, self._tensors = couplings, optimizer, named_tensors(model)
        found = find_candidates(model, couplings, self._settings.level)
        names = dict.fromkeys(name for some in found for name in some.tensors)
        gated = {name: self._tensors[name] for name in names}
        groups = groups_of(optimizer, gated, "Gates would multiply")
        self._veil = Veil(gated)
        self._sets = [self._make(candidates) for candidates in found]
        # Gates follow the learning rate of the first parameter that they multiply.
        self._groups = [groups[some.tensors[0]] for some in found]
        introduce(self._sets)
        self._hooks = StepHooks(optimizer, self._before_step, self._after_step)

    def _make(self, candidates: Candidates) -> GateSet:
        true, momentum = self._veil.true, self._settings.momentum
        if self._settings.level == "unit":
            return UnitGates(candidates, true, self._pull, momentum)
        return WeightGates(candidates.name, true, self._pull, momentum)

    def _before_step(self) -> None:
        self._step += 1
        gradients = self._veil.gradients()
        # All before any: each makes other gradients of these in place.
        worths = [gates.worth(gradients) for gates in self._sets]
        for gates, worth, group in zip(self._sets, worths, self._groups, strict=True):
            rate = float(self._optimizer.param_groups[group]["lr"]) * self._settings.rate
            gates.descend_(worth, gradients, rate)
        self._veil.lift_()

    def _after_step(self) -> None:
        self._veil.drop_(self._show_)

    def _show_(self, parameters: Tensors) -> None:
        for gates in self._sets:
            gates.show_(parameters)

    def penalty(self) -> Tensor | None:
        """No penalty: R enters in the step, where no scale of the loss reaches it."""
        return None

    def structure(self) -> Structure:
        """What is over its threshold."""
        kept = {gates.name: (gates.values() > 0).cpu() for gates in self._sets}
        return Structure(kept, GRANULARITIES[self._settings.level])

    def path(self) -> Path:
        """Scores alone, above zero: of gates, or norms of what is kept of each unit.

        A living unit's score is its gate over the mean of its coupling. The dead are below all
        living ones, in the order of their gammas over the thresholds.
        """
        if self._settings.level == "weight":
            return Path.of_scores(
                "gates", kept_norms(self._couplings, self._tensors, self.structure())
            )
        alive = {gates.name: gates.values().cpu().double() for gates in self._sets}
        scores = {name: values / values.mean() for name, values in alive.items()}
        lowest = min((float(s[s > 0].min()) for s in scores.values()), default=0.0)
        for gates in self._sets:
            dead = BELOW * lowest * share_of_threshold(gates).cpu().double().clamp(max=1)
            scores[gates.name] = torch.where(scores[gates.name] > 0, scores[gates.name], dead)
        return Path.of_scores("gates", scores)

    def metrics(self) -> dict[str, float]:
        """Share that is alive, R, smallest living and largest value, share of sets at the guard."""
        values = [gates.values() for gates in self._sets]
        if not values:
            return {}
        alive = [some[some > 0] for some in values]
        return {
            "alive_share": sum(map(Tensor.numel, alive)) / sum(map(Tensor.numel, values)),
            "regulariser": sum(float(quasi_norm(some, self._settings.p)) for some in values),
            "gate_min": min(float(some.min()) for some in alive),
            "gate_max": max(float(some.max()) for some in alive),
            "guarded_share": sum(map(at_guard, self._sets)) / len(values),
        }

    def notices(self) -> list[str]:
        """Says when nothing has died late in the run, and which sets the guard holds."""
        share = self._step / max(1, self._horizon.num_steps)
        lines, strength = [], self._pull.strength
        if self._sets and share >= LATE and all(bool((g.values() > 0).all()) for g in self._sets):
            nearest = min(float(share_of_threshold(gates).min()) for gates in self._sets)
            lines.append(
                f"Everything is alive after {share:.0%} of the steps (strength {strength:.3g}; the "
                f"nearest is {nearest:.3g} times its threshold). Raise sparsity.strength or rate, "
                "or train longer."
            )
        if held := [gates.name for gates in self._sets if at_guard(gates)]:
            lines.append(
                f"In {len(held)} of {len(self._sets)} sets of gates (as {held[0]}) the threshold "
                f"would kill everything but for the guard (strength {strength:.3g}). "
                "Lower sparsity.strength."
            )
        return lines

    def fold(self) -> None:
        """Make base times gate the parameters for good; they hold it already, so hooks go."""
        self._hooks.remove()

    def detach(self) -> None:
        """Fold; nothing but the parameters is left."""
        self.fold()

    def state_dict(self) -> dict[str, Any]:
        """True values, and alpha and beta with their momentum, by set."""
        return {
            "method": "gates",
            "level": self._settings.level,
            "step": self._step,
            "true": self._veil.state_dict(),
            "sets": {gates.name: dict(gates.state) for gates in self._sets},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s result, of which nothing is shared.

        Raises:
            TrainError: The state is of another network, method or level.
        """
        check_method(state, "gates", self._settings.level)
        self._step = state["step"]
        self._veil.load_state_dict(state["true"])
        for gates in self._sets:
            saved = state["sets"].get(gates.name, {})
            for name, value in gates.state.items():
                value.copy_(saved_tensor(saved, name, value))

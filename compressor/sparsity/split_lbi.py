"""DessiLBI, split linearised Bregman iteration, on couplings, filters and single weights.

Fu et al., DessiLBI: Exploring Structural Sparsity of Deep Networks via Differential Inclusion Paths
(ICML 2020), arXiv 2007.02010; Exploring Structural Sparsity of Deep Networks via Inverse Scale
Spaces, arXiv 1905.09449. The same iteration is called Split LBI there.

A twin Gamma of the weights W grows from nothing while W trains as usual, held near Gamma by a
coupling of strength 1/nu. With G_k the gradient at W_k, B_k what the optimiser makes of it, and
alpha_k its learning rate over kappa:

    D_k       = (W_k - Gamma_k) / nu
    W_{k+1}   = W_k - kappa alpha_k (B_k + D_k)
    Z_{k+1}   = Z_k + alpha_k D_k
    Gamma_{k+1} = kappa prox(Z_{k+1}),   Z_0 = Gamma_0 = 0

What differs from the published code at level ``unit``: a group is a unit of a coupling, over all
layers that produce it, so that the support can be removed physically. Levels ``filter`` and
``weight`` have the published groups. At all of them nu and lambda are calibrated, since the
published ones are right for one network and one number of steps only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.errors import TrainError
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import GRANULARITIES, kept_norms, whole_weights
from compressor.sparsity.hooks import StepHooks
from compressor.sparsity.lbi_choice import (
    keep_share,
    or_best,
    ordered_scores,
)
from compressor.sparsity.lbi_forecast import (
    calibrated_nu,
    check_constant,
    check_plain,
    check_rate,
    forecast,
    mean_speed,
    support_notices,
)
from compressor.sparsity.lbi_parts import Part
from compressor.sparsity.lbi_settings import SplitLBISettings
from compressor.sparsity.lbi_twins import (
    Fresh,
    fresh_twin,
    join,
    layer_parts,
    unit_parts,
)
from compressor.sparsity.lbi_units import unit_path
from compressor.sparsity.masks import two_of_four
from compressor.sparsity.saved import check_method
from compressor.sparsity.twin import Twins
from compressor.structure import Path, Structure

__all__ = ["SplitLBI", "SplitLBISettings"]


class SplitLBI:
    """Holds the twins of one model beside its optimiser."""

    def __init__(self, settings: SplitLBISettings, horizon: Horizon) -> None:
        self._settings = settings
        self._horizon = horizon
        self.nu = settings.nu or calibrated_nu(
            horizon.path_time, settings.entry_share, settings.lam, settings.kappa
        )
        self._step = 0
        self._rates: dict[int, float] = {}
        self._joined: list[tuple[int, Twins]] = []
        self._twins: dict[str, Twins] = {}
        self._whole: dict[str, Tensor] = {}  # weights without groups of four
        self._forecast: list[str] = []
        self._hooks: StepHooks | None = None

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Make the twins and hook the optimiser's step.

        Raises:
            TrainError: A twinned parameter is not in the optimiser, all that would carry a twin
                are zero, norm scales are asked for where there are none, the step is unstable, or
                the optimiser is not what the preset needs.
        """
        settings = self._settings
        if settings.preset == "split-lbi":
            check_plain(optimizer)
        self._tensors = named_tensors(model)
        self._couplings, self._optimizer = couplings, optimizer
        fresh = self._fresh(model)
        self._joined = join(
            fresh, optimizer, self._tensors, settings.kappa, keep_epochs=settings.rule == "ordered"
        )
        of_name = {name: twins for _, twins in self._joined for name in twins.names}
        self._twins = {some.twin.name: of_name[some.twin.name] for some in fresh}
        self._calibrate(fresh)
        self._hooks = hooks = StepHooks(optimizer, self._before_step, self._after_step)
        try:
            self._checked_rates()
        except TrainError:
            hooks.remove()
            raise

    def _fresh(self, model: nn.Module) -> list[Fresh]:
        settings = self._settings
        self._whole = whole_weights(model, settings.level)
        if settings.level == "unit":
            parts = unit_parts(self._couplings, self._tensors, settings.twin)
        else:
            parts = layer_parts(model, self._tensors, settings.level)
        return [
            fresh_twin(name, some, self._tensors, settings.lam, settings.group_weight)
            for name, some in parts.items()
        ]

    def _calibrate(self, fresh: Sequence[Fresh]) -> None:
        settings, time = self._settings, self._horizon.path_time
        initial = [(some.norms, some.twin.threshold) for some in fresh]
        if settings.nu is None and settings.group_weight != "initial-norm" and fresh:
            self.nu *= settings.lam * mean_speed(initial)
        self._forecast = forecast(initial, self.nu, settings.kappa, time)

    def _checked_rates(self) -> list[float]:
        # Looked up at each step: an optimiser that loads a state makes new groups.
        groups = self._optimizer.param_groups
        rates = [float(groups[place]["lr"]) for place, _ in self._joined]
        for rate in rates:
            check_rate(rate, self.nu)
        return rates

    def _before_step(self) -> None:
        rates, kappa = self._checked_rates(), self._settings.kappa
        if self._settings.preset == "split-lbi":
            for (place, _), rate in zip(self._joined, rates, strict=True):
                check_constant(rate, self._rates.setdefault(place, rate))
        self._step += 1
        for (_, twins), rate in zip(self._joined, rates, strict=True):
            twins.advance(self._step, rate / kappa, self.nu)
        epoch = self._epoch(self._step)
        if self._epoch(self._step + 1) != epoch:
            for _, twins in self._joined:
                twins.close_epoch(epoch)

    def _after_step(self) -> None:
        # After the optimiser, so that the pull reaches neither momentum nor weight decay.
        for _, twins in self._joined:
            twins.pull_()

    def _epoch(self, step: int) -> int:
        """Epoch (from 0) of a step (from 1)."""
        return (step - 1) * self._horizon.num_epochs // self._horizon.num_steps

    def penalty(self) -> Tensor | None:
        """No penalty: the coupling acts in the step, outside momentum."""
        return None

    def structure(self) -> Structure:
        """What the rule keeps; at every level but ``unit`` at least one group of each layer."""
        keep = {name: self._kept(name, twins) for name, twins in self._twins.items()}
        return Structure({**self._whole, **keep}, GRANULARITIES[self._settings.level])

    def _kept(self, name: str, twins: Twins) -> Tensor:
        settings = self._settings
        support = twins.support(name).cpu()
        if settings.level == "unit" and settings.rule == "support":
            return support
        duals, weights = twins.dual_norms(name).cpu(), twins.weight_norms(name).cpu()
        if settings.level == "2:4":
            return two_of_four(duals, weights)
        if settings.density is not None:
            epochs = self._entry_epochs(name, twins)
            scores = ordered_scores(weights, epochs, self._horizon.num_epochs)
            kept = keep_share(scores, settings.density)
        else:
            kept = or_best(support, duals, weights)
        if settings.level == "unit":
            return kept
        return twins.parts(name)[0].mask(kept, self._tensors[name].shape)

    def _entry_epochs(self, name: str, twins: Twins) -> Tensor:
        epochs = twins.entry_epochs(name, self._horizon.num_steps, self._horizon.num_epochs).cpu()
        new = (epochs < 0) & twins.support(name).cpu()
        return epochs.long().masked_fill(new, self._epoch(self._step))

    def path(self) -> Path:
        """Entries so far and the score of each unit.

        At level ``unit`` that is the product of dual norm, filter norm and norm scale, each over
        its coupling's mean: how far a unit has come along the path and how much the network uses
        it. At other levels it is what the structure keeps of the unit.
        """
        if self._settings.level != "unit":
            norms = kept_norms(self._couplings, self._tensors, self.structure())
            return Path.of_scores("dessilbi", norms)
        couplings = {
            c.name: unit_path(c, self._twins[c.name], self._tensors) for c in self._couplings.free
        }
        return Path("dessilbi", couplings)

    def metrics(self) -> dict[str, float]:
        """Path time, share in the support, ||W - Gamma|| / ||W|| and ||W - Gamma||^2 / (2 nu).

        The support is counted in units or else in weights; ``density`` is the share kept of these.
        """
        squares = [twins.squares() for _, twins in self._joined]
        gap, size = sum(gaps for gaps, _ in squares), sum(sizes for _, sizes in squares)
        kept, total = self._support()
        metrics = {
            "path_time": max((twins.time for _, twins in self._joined), default=0.0),
            "support_share": kept / total if total else 1.0,
            "distance": (gap / size) ** 0.5 if size else 0.0,
            "coupling_loss": gap / (2 * self.nu),
        }
        if self._settings.level != "unit":
            metrics["density"] = 1.0 - self.structure().sparsity
        return metrics

    def _support(self) -> tuple[int, int]:
        """Groups in the support, and all, counted in units or else in single weights."""
        unit = self._settings.level == "unit"
        counts = [twins.count(name, in_groups=unit) for name, twins in self._twins.items()]
        return sum(kept for kept, _ in counts), sum(total for _, total in counts)

    def notices(self) -> list[str]:
        """Says in the first epoch what cannot go well, then when the support is empty or full."""
        share = self._step / self._horizon.num_steps
        early = self._forecast if share * self._horizon.num_epochs <= 1 else []
        return [*early, *support_notices(*self._support(), share, self.nu)]

    @torch.no_grad()
    def detach(self) -> None:
        """Remove the hooks; state and path stay readable.

        Where single weights are left out they become zero. Units stay, for stripping to choose.
        """
        if self._hooks is None:
            return
        self._hooks.remove()
        self._hooks = None
        if self._settings.level != "unit":
            for name, kept in self.structure().keep.items():
                tensor = self._tensors[name]
                tensor.masked_fill_(~kept.to(tensor.device), 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Z, entries, thresholds and clocks, by coupling or parameter."""
        return {
            "method": "dessilbi",
            "level": self._settings.level,
            "preset": self._settings.preset,
            "step": self._step,
            "nu": self.nu,
            "rates": dict(self._rates),
            "forecast": list(self._forecast),
            "twins": {name: twins.state_dict(name) for name, twins in self._twins.items()},
        }

    def parts(self) -> dict[str, Sequence[Part]]:
        """By coupling or parameter: where the groups of its twin lie."""
        return {name: twins.parts(name) for name, twins in self._twins.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s result, of which nothing is shared.

        Raises:
            TrainError: The state is of another network, method, level or preset.
        """
        check_method(state, "dessilbi", self._settings.level)
        if state["preset"] != self._settings.preset:
            raise TrainError(
                f'The checkpoint is of sparsity.preset "{state["preset"]}", the run of '
                f'"{self._settings.preset}". Resume with the settings that it was saved with.'
            )
        for name, twins in self._twins.items():
            twins.load_state_dict(name, state["twins"].get(name, {}))
        for _, twins in self._joined:
            twins.loaded()
        self._step, self.nu = state["step"], state["nu"]
        self._rates, self._forecast = dict(state["rates"]), list(state["forecast"])

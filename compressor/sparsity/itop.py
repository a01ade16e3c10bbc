"""ITOP: dynamic sparse training, which counts how much of the network it has tried.

Liu et al., Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in Sparse
Training (ICML 2021), arXiv 2102.02887. Growth at random is SET (Mocanu et al., Nature
Communications 2018), growth by gradient RigL (Evci et al., ICML 2020, arXiv 1911.11134).

A random share of each layer is kept. Every ``interval`` steps the smallest share p of it is dropped
and as much grows from zero, with p falling along a cosine. R_s, the share that was kept at some
time, says how much over-parameterisation the sparse network has had in time.

What differs from the published code: counts are exact, what was just dropped does not grow at once,
masks and generator are in the checkpoint, and units can be exchanged instead of weights. A unit is
left out by zeroing what reads it, not what makes it: behind a ReLU a unit that gives zero has no
gradient, so it would neither be found nor, once grown, ever move.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.errors import TrainError
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.candidates import GRANULARITIES, find_candidates, kept_norms
from compressor.sparsity.densities import erdos_renyi, whole_counts
from compressor.sparsity.holding import entry_factors, hold_
from compressor.sparsity.hooks import StepHooks, groups_of
from compressor.sparsity.itop_layers import Layer, of_coupling
from compressor.sparsity.itop_schedule import Schedule, default_interval, most_explored
from compressor.sparsity.masks import keep_largest
from compressor.sparsity.saved import check_method, saved_tensor
from compressor.structure import Path, Structure

Growth = Literal["gradient", "random"]

PUBLISHED_UPDATES: dict[Growth, int] = {"gradient": 22, "random": 60}
"""Updates of the published CIFAR-10 runs: 88 000 steps, one update in 4000 or in 1500."""

WIDE_ENOUGH = 0.5
"""A bound of R_s below this share is worth a line."""


class ITOPSettings(Settings):
    """Dynamic sparse training; the defaults fit the number of updates to the length of the run."""

    method: Literal["itop"] = "itop"
    level: Literal["unit", "weight"] = "unit"
    """What is exchanged: units of couplings, or single weights, as published."""
    grow: Growth = "gradient"
    """What grows: those with the largest gradient, as in RigL, or any, as in SET."""
    density: float = Field(default=0.5, gt=0, le=1)
    """Share of all weights, or units, that is kept; in the paper 0.02 to 0.2 of the weights."""
    distribution: Literal["erk", "uniform"] | None = None
    """How layers share the density: Erdos-Renyi-kernel, by the dimensions of weights, or all alike.
    None is "erk" for weights and "uniform" for units, which have no dimensions."""
    first_drop_share: float = Field(default=0.5, gt=0, lt=1)
    """Share p of the kept that an update at step 0 would drop."""
    last_drop_share: float = Field(default=0.005, ge=0, lt=1)
    """Share p at the end of the schedule."""
    interval: int | None = Field(default=None, ge=1)
    """Optimiser steps between updates, the paper's delta T: on CIFAR-10 4000 by gradient and 1500
    at random. None takes as many updates as those runs have, but one in 50 steps at most, or five
    in a shorter run."""
    stop_share: float = Field(default=0.75, ge=0, le=1)
    """Share of the run after which masks stay: 0.75 in RigL, 1 in ITOP; 0 keeps the first masks."""
    gradient_batches: int = Field(default=1, ge=1)
    """Steps, the last before an update, over whose gradients growth averages."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ITOPSettings":
        if self.level == "unit" and self.distribution == "erk":
            raise ValueError(
                'distribution is "erk", which goes by the dimensions of weights, and level is '
                '"unit"; take "uniform", or level "weight"'
            )
        if self.grow == "random" and self.gradient_batches > 1:
            raise ValueError(
                f"gradient_batches is {self.gradient_batches}, and grow is "
                '"random", which looks at no gradient; leave it out, or take grow "gradient"'
            )
        if self.density == 1:
            raise ValueError(
                "density is 1, and nothing could be exchanged for what is kept; lower it, or take "
                'method "dense"'
            )
        if self.last_drop_share > self.first_drop_share:
            raise ValueError(
                f"last_drop_share is {self.last_drop_share:g}, above first_drop_share, "
                f"{self.first_drop_share:g}, and the share falls along a cosine; swap them"
            )
        return self


class ITOP:
    """Masks over the candidates of one model, exchanged while its optimiser trains what is kept."""

    def __init__(self, settings: ITOPSettings, horizon: Horizon) -> None:
        """Plan the updates of the run.

        Raises:
            TrainError: Gradients of more steps are asked for than lie between two updates.
        """
        stop = int(settings.stop_share * horizon.num_steps)
        interval = settings.interval or default_interval(stop, PUBLISHED_UPDATES[settings.grow])
        if settings.stop_share > 0 and settings.gradient_batches > interval:
            raise TrainError(
                f"sparsity.gradient_batches is {settings.gradient_batches}, and updates follow "
                f"each other after {interval} steps. Lower it, or raise sparsity.interval."
            )
        self._settings, self._horizon = settings, horizon
        self.schedule = Schedule(
            horizon.num_steps, stop, interval, settings.first_drop_share, settings.last_drop_share
        )
        self._generator = torch.Generator().manual_seed(horizon.seed)
        self._step = 0
        self._gradients: dict[str, Tensor] = {}

    @torch.no_grad()
    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Draw masks, make what is left out zero, and hook the optimiser's step.

        Raises:
            TrainError: The density leaves less than one candidate for each layer, or a parameter is
                not in the optimiser.
        """
        self._model, self._optimizer, self._couplings = model, optimizer, couplings
        self._tensors = named_tensors(model)
        if self._settings.level == "unit":
            self._layers = [of_coupling(coupling, model) for coupling in couplings.free]
        else:
            found = find_candidates(model, couplings, self._settings.level)
            self._layers = [Layer(some) for some in found]
        self._masked = {name: self._tensors[name] for x in self._layers for name in x.shown.tensors}
        counts = self._counts()
        # Before any weight is touched: an optimiser that does not fit is refused here.
        groups_of(optimizer, self._masked, "ITOP would mask")
        self._hooks = StepHooks(optimizer, self._before_step, self._after_step)
        for layer, kept in zip(self._layers, counts, strict=True):
            mask = keep_largest(self._draw(layer), kept)
            layer.set(mask, explored=mask.clone())
        blind = (layer for layer in self._layers if layer.is_blind)
        self._born = {name: self._tensors[name].clone() for x in blind for name in x.shown.tensors}
        self._rebuild()
        self._show_()

    def _counts(self) -> list[int]:
        shapes, density = [layer.shown.shape for layer in self._layers], self._settings.density
        alike = self._settings.level == "unit" or self._settings.distribution == "uniform"
        densities = [density] * len(shapes) if alike else erdos_renyi(shapes, density)
        return whole_counts([shape.numel() for shape in shapes], densities)

    def _draw(self, layer: Layer) -> Tensor:
        # On the CPU, so that every device and every process draws the same.
        drawn = torch.rand(layer.shown.shape, generator=self._generator)
        return drawn.to(self._tensors[layer.shown.tensors[0]].device)

    def _before_step(self) -> None:
        self._step += 1
        until = -self._step % self.schedule.interval
        if (
            self._settings.grow == "random"
            or until >= self._settings.gradient_batches
            or not self.schedule.is_due(self._step + until)
        ):
            return
        for name, tensor in self._masked.items():
            if tensor.grad is not None:
                # The sum ranks as the mean does.
                self._gradients[name] = self._gradients.get(name, 0) + tensor.grad

    def _after_step(self) -> None:
        self._show_()
        if self.schedule.is_due(self._step):
            self._update()

    def _update(self) -> None:
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self._masked.items()}
        gradients, share = {**zeros, **self._gradients}, self.schedule.share(self._step)
        grown = []
        for layer in self._layers:
            at_random = self._settings.grow == "random" or layer.is_blind
            promise = self._draw(layer) if at_random else layer.shown.dot(gradients, gradients)
            grown.append(layer.exchange(self._tensors, promise, share))
        self._gradients = {}
        self._rebuild()
        for layer, new in zip(self._layers, grown, strict=True):
            layer.bear_(self._tensors, self._born, new)
        self._show_()

    def _rebuild(self) -> None:
        """Masks of all layers as factors shaped like the parameters: one product a step."""
        masks = {layer.name: layer.mask for layer in self._layers}
        shown = [layer.shown for layer in self._layers]
        self._factors = entry_factors(shown, masks, self._masked)

    def _show_(self) -> None:
        """Make what is left out zero, and its momentum."""
        hold_(self._masked, self._factors, self._optimizer)

    def penalty(self) -> Tensor | None:
        """No penalty."""
        return None

    def structure(self) -> Structure:
        """The masks of now."""
        keep = {layer.name: layer.mask.to("cpu", copy=True) for layer in self._layers}
        return Structure(keep, GRANULARITIES[self._settings.level])

    @torch.no_grad()
    def path(self) -> Path:
        """Units by the magnitude of what is kept of them; units that are left out come last."""
        if self._settings.level == "unit":
            # Afresh, since the weights may have left the device that they were trained on.
            now = [of_coupling(coupling, self._model) for coupling in self._couplings.free]
            pairs = zip(self._layers, now, strict=True)
            scores = {layer.name: layer.score(it.worth(self._tensors)) for layer, it in pairs}
        else:
            scores = kept_norms(self._couplings, self._tensors, self.structure())
        return Path.of_scores("itop", scores)

    def over_parameterisation(self) -> dict[str, float]:
        """R_s of each weight or coupling: the share that was kept at some time, in [0, 1]."""
        return {layer.name: int(layer.explored.sum()) / layer.size for layer in self._layers}

    def metrics(self) -> dict[str, float]:
        """Density, drop share, updates so far, and R_s of the whole and of each layer."""
        rates, total = self.over_parameterisation(), sum(layer.size for layer in self._layers)
        explored = sum(rates[layer.name] * layer.size for layer in self._layers)
        return {
            "density": 1.0 - self.structure().sparsity,
            "drop_share": self.schedule.share(self._step),
            "updates": float(self.schedule.num_done(self._step)),
            "over_parameterisation": explored / total if total else 1.0,
            **{f"over_parameterisation.{name}": rate for name, rate in rates.items()},
        }

    def notices(self) -> list[str]:
        """Says in the first epoch what the run cannot do."""
        if self._step * self._horizon.num_epochs > self._horizon.num_steps:
            return []
        return list(self._limits())

    def _limits(self) -> Iterator[str]:
        plan, grows = self.schedule, self._settings.grow == "gradient"
        if plan.num_updates == 0:
            yield (
                f"The first masks stay: the first update would follow step {plan.interval}, and "
                f"updates end at step {plan.stop} of {plan.num_steps}. "
                "Lower sparsity.interval, raise sparsity.stop_share, or train longer."
            )
        counts, sizes = [x.num_kept for x in self._layers], [x.size for x in self._layers]
        bound = most_explored(counts, sizes, plan.shares())
        if plan.num_updates and bound < WIDE_ENOUGH:
            yield (
                f"{plan.num_updates} updates can try {bound:.1%} of the network at most (R_s). "
                "Lower sparsity.interval, raise sparsity.density, or train longer."
            )
        if grows and (blind := [layer.name for layer in self._layers if layer.is_blind]):
            yield (
                f"{len(blind)} of {len(self._layers)} couplings, {blind[0]} first, grow at random: "
                "norms mix their units or nothing reads them, so none left out has a gradient."
            )

    @torch.no_grad()
    def detach(self) -> None:
        """Remove the hooks; what is left out stays zero, and units that are left out give zero."""
        self._hooks.remove()
        for layer in self._layers:
            layer.silence_(self._tensors)

    def state_dict(self) -> dict[str, Any]:
        """Masks, what was ever kept, generator, step, values at birth, and gradients so far."""
        return {
            "method": "itop",
            "level": self._settings.level,
            "step": self._step,
            "generator": self._generator.get_state(),
            "masks": {layer.name: layer.mask for layer in self._layers},
            "explored": {layer.name: layer.explored for layer in self._layers},
            "born": dict(self._born),
            "gradients": dict(self._gradients),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from copies of what ``state_dict`` gave.

        Raises:
            TrainError: The state is of another network, method or level.
        """
        check_method(state, "itop", self._settings.level)
        for layer in self._layers:
            mask = saved_tensor(state["masks"], layer.name, layer.mask)
            layer.set(mask, saved_tensor(state["explored"], layer.name, layer.explored))
        self._born = {name: saved_tensor(state["born"], name, x) for name, x in self._born.items()}
        sums = state["gradients"]
        self._gradients = {name: saved_tensor(sums, name, self._masked[name]) for name in sums}
        self._generator.set_state(state["generator"].cpu())
        self._step = state["step"]
        self._rebuild()

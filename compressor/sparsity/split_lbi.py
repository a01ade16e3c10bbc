"""DessiLBI, split linearised Bregman iteration, on couplings.

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

What differs from the published code: a group is a unit of a coupling, over all layers that produce
it, so that the support can be removed physically; and nu and lambda are calibrated, since the
published ones are right for one network and one number of steps only.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    Member,
    named_tensors,
    unit_norms,
)
from compressor.errors import TrainError
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.twin import Twin
from compressor.structure import Path, Structure, UnitPath

Carrier = Literal["auto", "norm-scale", "filter"]

EMPTY_AFTER_SHARE = 0.75
"""An empty support is worth a line once this share of the steps is over."""


class SplitLBISettings(Settings):
    """DessiLBI; the defaults calibrate themselves from the length of the run and the weights."""

    method: Literal["dessilbi"] = "dessilbi"
    twin: Carrier = "auto"
    """What carries the twin: the norm scales of a coupling, or its filters.

    With batch norm filters are scale free and their twins say little, so ``auto`` takes the norm
    scales where the coupling has as many of them as producing layers, and the filters elsewhere.
    """
    nu: float | None = Field(default=None, gt=0)
    """The paper's nu, inverse strength of the coupling; None calibrates it by ``entry_share``."""
    lam: float = Field(default=1.0, gt=0)
    """The paper's lambda; each coupling's group weight w_g is its mean initial unit norm.

    Without gradients a unit enters only if its initial norm is above kappa * lam * w_g; at 1 and
    with fresh norm scales, which are all alike, none does: only gradients select.
    """
    kappa: float = Field(default=1.0, gt=0)
    """The paper's damping; redundant with the learning rate and lam, for comparison with papers."""
    entry_share: float = Field(default=0.35, gt=0)
    """Share of the path time at which a unit that keeps its initial norm enters, if nu is None."""


def calibrated_nu(path_time: float, entry_share: float, lam: float, kappa: float) -> float:
    """The nu at which a unit of constant norm w_g enters after ``entry_share`` of the run.

    Before it enters, such a unit has ||Z|| = t w_g / nu at path time t, and enters at lam * w_g.

    Args:
        path_time: Sum of the optimiser's learning rates over the run (kappa * alpha), > 0.
        entry_share: > 0.
        lam: The paper's lambda in units of w_g, > 0.
        kappa: Damping, > 0.
    """
    return entry_share * path_time / (kappa * lam)


class SplitLBI:
    """Holds the twins of all couplings of one model beside its optimiser."""

    def __init__(self, settings: SplitLBISettings, horizon: Horizon) -> None:
        self._settings = settings
        self._horizon = horizon
        self.nu = settings.nu or calibrated_nu(
            horizon.path_time, settings.entry_share, settings.lam, settings.kappa
        )
        self._step = 0
        self._twins: dict[str, Twin] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Make a twin for each coupling and hook the optimiser's step.

        Raises:
            TrainError: A twinned parameter is not in the optimiser, or all of a coupling's are
                zero, or norm scales are asked for where there are none.
        """
        self._tensors = named_tensors(model)
        self._couplings = couplings
        self._optimizer = optimizer
        self._twins, self._groups = {}, {}
        for coupling in couplings.free:
            members = twin_members(coupling, self._settings.twin)
            self._groups[coupling.name] = _param_group(
                optimizer, coupling.name, members, self._tensors
            )
            self._twins[coupling.name] = self._twin(coupling.name, members)
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def _twin(self, name: str, members: tuple[Member, ...]) -> Twin:
        # The positions lie where the weights do; else every step would copy them there.
        members = tuple(
            replace(member, index=member.index.to(self._tensors[member.tensor].device))
            for member in members
        )
        mean_norm = float(unit_norms(self._tensors, members).mean())
        if mean_norm == 0:
            raise TrainError(
                f"{name}: all weights that would carry the twin are zero. "
                "Choose another sparsity.twin, or another initialisation."
            )
        return Twin(members, self._tensors, self._settings.lam * mean_norm)

    def _rate(self, name: str) -> float:
        # Looked up at each step: an optimiser that loads a state makes new groups.
        return float(self._optimizer.param_groups[self._groups[name]]["lr"])

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        # Z, Gamma and the pull all use W_k, so they come before the optimiser moves it.
        self._step += 1
        kappa = self._settings.kappa
        for name, twin in self._twins.items():
            twin.advance(self._step, self._rate(name) / kappa, self.nu, kappa)

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        # After the optimiser, so that the pull reaches neither momentum nor weight decay.
        for name, twin in self._twins.items():
            twin.pull_(self._rate(name))

    def penalty(self) -> Tensor | None:
        """No penalty: the coupling acts in the step, outside momentum."""
        return None

    def structure(self) -> Structure:
        """The support of Gamma."""
        return Structure({name: twin.support.cpu() for name, twin in self._twins.items()})

    def path(self) -> Path:
        """Entries so far; the score is the product of dual norm, filter norm and norm scale.

        Each factor is relative to its coupling's mean, so the score says how far a unit has come
        along the path and how much the network uses it.
        """
        return Path(
            "dessilbi",
            {
                coupling.name: UnitPath(
                    entry_step=self._twins[coupling.name].entry_step.to("cpu", copy=True),
                    entry_time=self._twins[coupling.name].entry_time.to("cpu", copy=True),
                    score=self._score(coupling),
                )
                for coupling in self._couplings.free
            },
        )

    def _score(self, coupling: Coupling) -> Tensor:
        dual = self._twins[coupling.name].state.dual
        factors = [torch.linalg.vector_norm(dual, dim=1)]
        factors.append(unit_norms(self._tensors, coupling.of_kind("filter")))
        if scales := coupling.of_kind("scale"):
            factors.append(unit_norms(self._tensors, scales))
        score = torch.ones(coupling.num_units, dtype=torch.float64)
        for factor in factors:
            # After the run the weights may have left the device that Z is on.
            values = factor.cpu().double()
            mean = values.mean()
            # A factor that is zero everywhere, as Z before the first step, says nothing.
            score *= torch.where(mean > 0, values / mean, 1.0)
        return score

    def metrics(self) -> dict[str, float]:
        """Path time, share of units in the support, and ||W - Gamma|| / ||W||."""
        gaps, norms = 0.0, 0.0
        for twin in self._twins.values():
            weights = twin.weights()
            gaps += float((weights - twin.state.gamma.to(weights.device)).square().sum())
            norms += float(weights.square().sum())
        return {
            "path_time": max((twin.time for twin in self._twins.values()), default=0.0),
            "support_share": 1.0 - self.structure().sparsity,
            "distance": (gaps / norms) ** 0.5 if norms else 0.0,
        }

    def notices(self) -> list[str]:
        """Says when the support is empty late in the run, or full before its end."""
        structure, share = self.structure(), self._step / self._horizon.num_steps
        if structure.num_kept == 0 and share >= EMPTY_AFTER_SHARE:
            return [
                f"The support is still empty after {share:.0%} of the steps (nu {self.nu:.3g}): "
                "units rank by how near they are. Lower sparsity.entry_share, or train longer."
            ]
        if structure.num_kept == structure.num_units and share < 1:
            return [
                f"The support is full after {share:.0%} of the steps (nu {self.nu:.3g}): "
                "the rest of the run selects nothing. Raise sparsity.entry_share, or train less."
            ]
        return []

    def detach(self) -> None:
        """Remove the hooks; state and path stay readable."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def state_dict(self) -> dict[str, Any]:
        """Z, Gamma, entries, thresholds and clocks, by coupling."""
        return {
            "step": self._step,
            "nu": self.nu,
            "twins": {name: twin.state_dict() for name, twin in self._twins.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s result, of which nothing is shared.

        Raises:
            TrainError: The state is of another network or method.
        """
        saved_twins = state.get("twins", {})
        for name, twin in self._twins.items():
            saved, shape = saved_twins.get(name), tuple(twin.state.dual.shape)
            if saved is None or tuple(saved["dual"].shape) != shape:
                raise TrainError(
                    f"{name}: the checkpoint has no twin of shape {shape}. "
                    "Resume with the network and settings that it was saved from."
                )
            twin.load_state_dict(saved)
        self._step, self.nu = state["step"], state["nu"]


def twin_members(coupling: Coupling, twin: Carrier) -> tuple[Member, ...]:
    """The members whose slices carry the twin.

    Raises:
        TrainError: Norm scales are asked for and the coupling has none.
    """
    filters, scales = coupling.of_kind("filter"), coupling.of_kind("scale")
    if twin == "norm-scale" and not scales:
        raise TrainError(
            f'{coupling.name}: sparsity.twin is "norm-scale", but no norm with a scale runs along '
            'this coupling. Use "auto" or "filter".'
        )
    if twin == "norm-scale" or (twin == "auto" and len(scales) >= len(filters)):
        return scales
    return filters


def _param_group(
    optimizer: torch.optim.Optimizer,
    name: str,
    members: tuple[Member, ...],
    tensors: Mapping[str, Tensor],
) -> int:
    """Place of the optimiser's group whose learning rate is the step size of the twin.

    Where the members lie in several groups it is that of the first member.
    """
    places = {
        id(parameter): place
        for place, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
    }
    for member in members:
        if id(tensors[member.tensor]) not in places:
            raise TrainError(
                f"{name}: {member.tensor} carries its twin and is not in the optimiser. "
                "Give the optimiser all parameters of the model."
            )
    return places[id(tensors[members[0].tensor])]

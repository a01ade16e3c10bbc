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
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    Member,
    gather,
    named_tensors,
    unit_norms,
)
from compressor.errors import TrainError
from compressor.settings import Settings
from compressor.sparsity.base import Horizon
from compressor.sparsity.prox import group_soft_threshold
from compressor.structure import NEVER, Path, Structure, UnitPath

Twin = Literal["auto", "norm-scale", "filter"]

EMPTY_AFTER_SHARE = 0.5
"""An empty support is worth a line once this share of the steps is over."""


class SplitLBISettings(Settings):
    """DessiLBI; the defaults calibrate themselves from the length of the run and the weights."""

    method: Literal["dessilbi"] = "dessilbi"
    twin: Twin = "auto"
    """What carries the twin: the norm scales of a coupling, or its filters.

    With batch norm filters are scale free and their twins say little, so ``auto`` takes the norm
    scales where every producing layer of the coupling has one, and the filters elsewhere.
    """
    nu: float | None = Field(default=None, gt=0)
    """The paper's nu, inverse strength of the coupling; None calibrates it by ``entry_share``."""
    lam: float = Field(default=1.0, gt=0)
    """The paper's lambda; each coupling's group weight w_g is its mean initial unit norm.

    At kappa * lam >= 1 no unit enters by its initial norm alone: only gradients select.
    """
    kappa: float = Field(default=1.0, gt=0)
    """The paper's damping; redundant with the learning rate and lam, for comparison with papers."""
    entry_share: float = Field(default=0.5, gt=0)
    """Share of the run at which a unit that keeps its initial norm enters, when nu is None."""


class TwinState(NamedTuple):
    """One coupling's twin.

    Attributes:
        dual: Z, shape ``(units, entries)``.
        gamma: Gamma, same shape.
    """

    dual: Tensor
    gamma: Tensor


def split_lbi_step(
    weights: Tensor, state: TwinState, alpha: float, nu: float, threshold: float, kappa: float = 1.0
) -> tuple[TwinState, Tensor]:
    """One step of the twin, and the pull on the weights.

    Args:
        weights: W_k, shape ``(units, entries)``.
        state: Z_k and Gamma_k.
        alpha: Step size, > 0; the optimiser's learning rate over ``kappa``.
        nu: Inverse coupling strength, > 0.
        threshold: lambda * w_g, > 0.
        kappa: Damping, > 0.

    Returns:
        Z_{k+1} with Gamma_{k+1}, and D_k: the weights still have to move by ``-kappa alpha D_k``.
    """
    pull = (weights - state.gamma) / nu
    dual = state.dual + alpha * pull
    gamma = kappa * group_soft_threshold(dual, threshold)
    return TwinState(dual, gamma), pull


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
        self._time = 0.0
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._pulls: dict[str, Tensor] = {}

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Make a twin for each coupling and hook the optimiser's step.

        Raises:
            TrainError: A twinned parameter is not in the optimiser, or starts at zero.
        """
        self._tensors = named_tensors(model)
        self._couplings = couplings
        self._members = {c.name: twin_members(c, self._settings.twin) for c in couplings.free}
        self._groups = {
            name: _param_group(optimizer, name, members, self._tensors)
            for name, members in self._members.items()
        }
        self._thresholds, self._states, self._paths = {}, {}, {}
        for name, members in self._members.items():
            weights = gather(self._tensors, members)
            mean_norm = float(torch.linalg.vector_norm(weights, dim=1).mean())
            if mean_norm == 0:
                raise TrainError(
                    f"{name}: all weights that would carry the twin are zero. "
                    "Choose another sparsity.twin, or another initialisation."
                )
            self._thresholds[name] = self._settings.lam * mean_norm
            self._states[name] = TwinState(torch.zeros_like(weights), torch.zeros_like(weights))
            self._paths[name] = _no_entries(len(weights), weights.device)
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        # Z, Gamma and the pull all use W_k, so they come before the optimiser moves it.
        self._step += 1
        for name, members in self._members.items():
            alpha = self._groups[name]["lr"] / self._settings.kappa
            self._states[name], self._pulls[name] = split_lbi_step(
                gather(self._tensors, members),
                self._states[name],
                alpha,
                self.nu,
                self._thresholds[name],
                self._settings.kappa,
            )
        self._time += alpha if self._members else 0.0
        self._record_entries()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        # After the optimiser, so that the pull reaches neither momentum nor weight decay.
        for name, members in self._members.items():
            lr, start = self._groups[name]["lr"], 0
            for member in members:
                tensor = self._tensors[member.tensor]
                entries = tensor.numel() // tensor.shape[member.axis] * member.index.shape[1]
                rows = self._pulls[name][:, start : start + entries]
                member.add_rows_(tensor, rows, alpha=-lr)
                start += entries

    def _record_entries(self) -> None:
        for name, (steps, times) in self._paths.items():
            entered = (self._states[name].gamma != 0).any(dim=1) & (steps == NEVER)
            steps.masked_fill_(entered, self._step)
            times.masked_fill_(entered, self._time)

    def penalty(self) -> Tensor | None:
        """No penalty: the coupling acts in the step, outside momentum."""
        return None

    def structure(self) -> Structure:
        """The support of Gamma."""
        return Structure(
            {name: (s.gamma != 0).any(dim=1).cpu() for name, s in self._states.items()}
        )

    def path(self) -> Path:
        """Entries so far; the score is the product of dual norm, filter norm and norm scale.

        Each factor is relative to its coupling's mean, so the score says how far a unit has come
        along the path and how much the network uses it.
        """
        return Path(
            "dessilbi",
            {
                coupling.name: UnitPath(
                    entry_step=self._paths[coupling.name][0].cpu(),
                    entry_time=self._paths[coupling.name][1].cpu(),
                    score=self._score(coupling).cpu(),
                )
                for coupling in self._couplings.free
            },
        )

    def _score(self, coupling: Coupling) -> Tensor:
        dual = torch.linalg.vector_norm(self._states[coupling.name].dual, dim=1)
        factors = [dual, unit_norms(self._tensors, coupling.of_kind("filter"))]
        if scales := coupling.of_kind("scale"):
            factors.append(unit_norms(self._tensors, scales))
        score = torch.ones_like(dual, dtype=torch.float64)
        for factor in factors:
            mean = factor.mean(dtype=torch.float64)
            # A factor that is zero everywhere, as Z before the first step, says nothing.
            score *= torch.where(mean > 0, factor / mean, 1.0)
        return score

    def metrics(self) -> dict[str, float]:
        """Path time, share of units in the support, and ||W - Gamma|| / ||W||."""
        gaps, norms = 0.0, 0.0
        for name, members in self._members.items():
            weights = gather(self._tensors, members)
            gaps += float((weights - self._states[name].gamma).square().sum())
            norms += float(weights.square().sum())
        structure = self.structure()
        return {
            "path_time": self._time,
            "support_share": 1.0 - structure.sparsity,
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
        """Z, Gamma, entries, thresholds and clocks."""
        return {
            "step": self._step,
            "time": self._time,
            "nu": self.nu,
            "thresholds": dict(self._thresholds),
            "dual": {name: state.dual for name, state in self._states.items()},
            "gamma": {name: state.gamma for name, state in self._states.items()},
            "entry_step": {name: steps for name, (steps, _) in self._paths.items()},
            "entry_time": {name: times for name, (_, times) in self._paths.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s result.

        Raises:
            TrainError: The state is of another network.
        """
        for name, twin in self._states.items():
            saved = state["dual"].get(name)
            if saved is None or saved.shape != twin.dual.shape:
                raise TrainError(
                    f"{name}: the checkpoint has no twin of shape {tuple(twin.dual.shape)}. "
                    "Resume with the network and settings that it was saved from."
                )
            device = twin.dual.device
            self._states[name] = TwinState(saved.to(device), state["gamma"][name].to(device))
            self._paths[name] = (
                state["entry_step"][name].to(device),
                state["entry_time"][name].to(device),
            )
        self._step, self._time, self.nu = state["step"], state["time"], state["nu"]
        self._thresholds = dict(state["thresholds"])


def twin_members(coupling: Coupling, twin: Twin) -> tuple[Member, ...]:
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


def _no_entries(num_units: int, device: torch.device) -> tuple[Tensor, Tensor]:
    steps = torch.full((num_units,), NEVER, dtype=torch.int64, device=device)
    return steps, torch.full((num_units,), torch.inf, dtype=torch.float64, device=device)


def _param_group(
    optimizer: torch.optim.Optimizer,
    name: str,
    members: tuple[Member, ...],
    tensors: Mapping[str, Tensor],
) -> dict[str, Any]:
    """The optimiser's group whose learning rate moves the coupling's twin."""
    for member in members:
        for group in optimizer.param_groups:
            if any(parameter is tensors[member.tensor] for parameter in group["params"]):
                return group
    raise TrainError(
        f"{name}: none of the parameters that carry its twin is in the optimiser. "
        "Give the optimiser all parameters of the model."
    )

"""Twins and their steps: the split linearised Bregman iteration, many parameters at a time.

Of each twinned parameter one tensor is kept, Z, in the parameter's own layout. Gamma is made anew
from Z when it is needed, and what pulls the weights lives from before the optimiser's step to just
after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressor.errors import TrainError
from compressor.sparsity.lbi_parts import Part


@dataclass(frozen=True)
class Twin:
    """The twin of one coupling, or of one parameter.

    Attributes:
        name: Of the coupling or parameter.
        parts: Where its groups lie; the same number of groups in each.
        threshold: lambda * w_g.
    """

    name: str
    parts: tuple[Part, ...]
    threshold: float


class Twins:
    """Twins that move with one step size, on one device.

    Attributes:
        names: Of the twins.
        time: Path time so far, the sum of the step sizes alpha.
    """

    def __init__(self, twins: Sequence[Twin], tensors: Mapping[str, Tensor], kappa: float) -> None:
        # Those with most parts first, so that twins with one part more are always the first ones.
        self._twins = sorted(twins, key=lambda twin: -len(twin.parts))
        self.names = [twin.name for twin in self._twins]
        self._tensors, self._kappa, self.time = tensors, kappa, 0.0
        most = max(len(twin.parts) for twin in self._twins)
        self._rounds = [
            [twin for twin in self._twins if len(twin.parts) > place] for place in range(most)
        ]
        self._parts = [
            twin.parts[place] for place, some in enumerate(self._rounds) for twin in some
        ]
        self._owners = [twin.name for some in self._rounds for twin in some]
        # In single precision at least: what one step adds to Z is less than half precision tells.
        self._duals = [
            torch.zeros_like(weights, dtype=torch.promote_types(weights.dtype, torch.float32))
            for weights in self._weights()
        ]
        self._gaps: list[Tensor] = []
        self._share = 0.0

    def _weights(self) -> list[Tensor]:
        return [part.of(self._tensors[part.tensor]) for part in self._parts]

    def _gammas(self) -> list[Tensor]:
        """Gamma of each part, new tensors."""
        raise NotImplementedError

    def _after(self, step: int) -> None:
        """Take note of the new Z."""

    def advance(self, step: int, alpha: float, nu: float) -> None:
        """Z of optimiser step ``step`` (from 1) and the pull, from the weights before it."""
        # Z and the pull use W_k and Gamma_k, so they come before the optimiser moves anything.
        self._gaps = self._gammas()
        torch._foreach_sub_(self._gaps, self._weights())
        torch._foreach_add_(self._duals, self._gaps, alpha=-alpha / nu)
        self._share = self._kappa * alpha / nu
        self.time += alpha
        self._after(step)

    def pull_(self) -> None:
        """Move the weights by ``kappa alpha D_k`` of the last ``advance``, in place."""
        own, gaps = [], []
        for part, gap in zip(self._parts, self._gaps, strict=True):
            tensor = self._tensors[part.tensor]
            if part.member is None:
                own.append(part.of(tensor))
                gaps.append(gap)
            else:
                part.member.add_rows_(tensor.detach(), gap.to(tensor.dtype), alpha=self._share)
        if own:
            torch._foreach_add_(own, gaps, alpha=self._share)
        self._gaps = []

    def squares(self) -> tuple[float, float]:
        """||W - Gamma||^2 and ||W||^2 over all twins."""
        gap = size = 0.0
        for weights, gamma in zip(self._weights(), self._gammas(), strict=True):
            # After the run the weights may have left the device that Z is on.
            gap += float((weights - gamma.to(weights.device)).square().sum())
            size += float(weights.square().sum())
        return gap, size

    def support(self, name: str) -> Tensor:
        """Groups whose Gamma is not zero, bool, shape ``(groups,)`` or of the parameter."""
        raise NotImplementedError

    def dual_norms(self, name: str) -> Tensor:
        """||Z_g||, of the shape of ``support``."""
        raise NotImplementedError

    def weight_norms(self, name: str) -> Tensor:
        """||W_g||, of the shape of ``support``."""
        raise NotImplementedError

    def entry_epochs(self, name: str, num_steps: int, num_epochs: int) -> Tensor:
        """Epoch (from 0) of entry of each group or ``NEVER``, of the shape of ``support``."""
        raise NotImplementedError

    def count(self, name: str, *, in_groups: bool) -> tuple[int, int]:
        """Groups of one twin in the support, and all; or else their entries."""
        support = self.support(name)
        size = 1 if in_groups else self.parts(name)[0].group_size
        return size * int(support.sum()), size * support.numel()

    def parts(self, name: str) -> tuple[Part, ...]:
        """Where the groups of one twin lie."""
        return self._twins[self.names.index(name)].parts

    def close_epoch(self, epoch: int) -> None:
        """Take note of entries in ``epoch``, which is over."""

    def gamma(self, name: str) -> list[Tensor]:
        """Gamma of one twin, part by part."""
        return [
            gamma
            for gamma, owner in zip(self._gammas(), self._owners, strict=True)
            if owner == name
        ]

    def state_dict(self, name: str) -> dict[str, Any]:
        """Z of one twin part by part, its threshold, and the clock."""
        twin = self._twins[self.names.index(name)]
        duals = self._duals_of(name)
        return {"dual": duals, "threshold": twin.threshold, "time": self.time}

    def _duals_of(self, name: str) -> list[Tensor]:
        return [z for z, owner in zip(self._duals, self._owners, strict=True) if owner == name]

    def load_state_dict(self, name: str, state: Mapping[str, Any]) -> None:
        """Go on from copies of what ``state_dict`` gave; call ``loaded`` after the last.

        Raises:
            TrainError: It is of another network.
        """
        duals, saved = self._duals_of(name), state.get("dual", [])
        shapes = [tuple(dual.shape) for dual in duals]
        if [tuple(dual.shape) for dual in saved] != shapes:
            raise TrainError(
                f"{name}: the checkpoint has no twin of shape {', '.join(map(str, shapes))}. "
                "Resume with the network and settings that it was saved from."
            )
        for dual, value in zip(duals, saved, strict=True):
            dual.copy_(value)  # keeps the memory format, which no file keeps
        place = self.names.index(name)
        twin = self._twins[place]
        self._twins[place] = Twin(name, twin.parts, state["threshold"])
        self.time = state["time"]

    def loaded(self) -> None:
        """Make what is cached anew."""

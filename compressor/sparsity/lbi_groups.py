"""Twins of filters and of units, whose groups have several entries each."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.sparsity.lbi_choice import epoch_of_step
from compressor.sparsity.prox import shrink_factors
from compressor.sparsity.twin import Twin, Twins
from compressor.structure import NEVER


class GroupTwins(Twins):
    """Twins whose groups have several entries: filters, or units over all their layers.

    Norms, thresholds, entries and shrink factors of all groups of all twins lie in one vector each.
    """

    def __init__(self, twins: Sequence[Twin], tensors: Mapping[str, Tensor], kappa: float) -> None:
        super().__init__(twins, tensors, kappa)
        self._sizes = [twin.parts[0].num_groups for twin in self._twins]
        self._norms = self._joint_norms(self._duals)
        self._entry_step = torch.full_like(self._norms, NEVER, dtype=torch.int64)
        self._entry_time = torch.full_like(self._norms, torch.inf, dtype=torch.float64)
        self.loaded()

    def loaded(self) -> None:
        """Thresholds, norms and factors of now."""
        sizes = torch.tensor(self._sizes)
        each = torch.tensor([twin.threshold for twin in self._twins], dtype=self._norms.dtype)
        self._thresholds = each.repeat_interleave(sizes).to(self._norms.device)
        self._norms = self._joint_norms(self._duals)
        self._factors = shrink_factors(self._norms, self._thresholds)

    def _joint_norms(self, values: Sequence[Tensor]) -> Tensor:
        """2-norm of each group over all parts, for all twins in one vector."""
        rest, joint = iter(zip(self._parts, values, strict=True)), None
        for some in self._rounds:
            norms = torch.cat([part.norms(value) for part, value in (next(rest) for _ in some)])
            if joint is None:
                joint = norms
            else:
                more = len(norms)
                joint = torch.cat([torch.hypot(joint[:more], norms), joint[more:]])
        assert joint is not None
        return joint

    def _gammas(self) -> list[Tensor]:
        factors = torch.split(self._factors * self._kappa, self._sizes)
        owned = [factor for some in self._rounds for factor in factors[: len(some)]]
        spread = [part.spread(factor) for part, factor in zip(self._parts, owned, strict=True)]
        return list(torch._foreach_mul(self._duals, spread))

    def _after(self, step: int) -> None:
        self._norms = self._joint_norms(self._duals)
        self._factors = shrink_factors(self._norms, self._thresholds)
        entered = (self._factors != 0) & (self._entry_step == NEVER)
        self._entry_step.masked_fill_(entered, step)
        self._entry_time.masked_fill_(entered, self.time)

    def _of(self, name: str, flat: Tensor) -> Tensor:
        return torch.split(flat, self._sizes)[self.names.index(name)]

    def support(self, name: str) -> Tensor:
        """Groups whose Gamma is not zero, bool, shape ``(groups,)``."""
        return self._of(name, self._factors) != 0

    def dual_norms(self, name: str) -> Tensor:
        """||Z_g||, shape ``(groups,)``."""
        return self._of(name, self._norms)

    def weight_norms(self, name: str) -> Tensor:
        """||W_g||, shape ``(groups,)``."""
        return self._of(name, self._joint_norms(self._weights()))

    def entries(self, name: str) -> tuple[Tensor, Tensor]:
        """Step (from 1, or ``NEVER``) and path time (or infinity) of entry, ``(groups,)`` each."""
        return self._of(name, self._entry_step), self._of(name, self._entry_time)

    def entry_epochs(self, name: str, num_steps: int, num_epochs: int) -> Tensor:
        """Epoch of entry of each group, by its step."""
        steps = self._of(name, self._entry_step)
        return torch.where(steps == NEVER, NEVER, epoch_of_step(steps, num_steps, num_epochs))

    def state_dict(self, name: str) -> dict[str, Any]:
        """Z, threshold, clock and entries of one twin."""
        steps, times = self.entries(name)
        return {**super().state_dict(name), "entry_step": steps, "entry_time": times}

    def load_state_dict(self, name: str, state: Mapping[str, Any]) -> None:
        """Go on from copies of what ``state_dict`` gave."""
        super().load_state_dict(name, state)
        steps, times = self.entries(name)
        steps.copy_(state["entry_step"])
        times.copy_(state["entry_time"])

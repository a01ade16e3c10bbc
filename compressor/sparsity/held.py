"""Held: weights that a structure leaves out stay zero while the others train.

The tuning of a network of which single weights, or two of every four, are kept. The masks are given
and never read off the weights: a kept weight that happens to be zero goes on training.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, named_tensors
from compressor.errors import TrainError
from compressor.sparsity.candidates import Weights
from compressor.sparsity.holding import entry_factors, hold_
from compressor.sparsity.hooks import StepHooks
from compressor.sparsity.whole import WholeNetwork
from compressor.structure import Structure


class Held(WholeNetwork):
    """Ordinary training of what ``structure``, one of weights, keeps; all units rank the same."""

    name = "held"

    def __init__(self, structure: Structure) -> None:
        """Hold ``structure``.

        Raises:
            TrainError: It is one of units.
        """
        if structure.granularity == "channel":
            raise TrainError(
                "Held keeps structures of single weights, and this one is of units. "
                "Strip the network instead: its units are then gone, not zero."
            )
        self.level = structure.granularity
        self._structure = structure
        self._marks = {name: _mark(kept) for name, kept in structure.keep.items()}
        self._hooks: StepHooks | None = None

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, couplings: Couplings
    ) -> None:
        """Zero what is left out, and hook the step.

        Raises:
            TrainError: The structure is not one of this network.
        """
        super().attach(model, optimizer, couplings)
        keep, tensors = self._structure.keep, named_tensors(model)
        for name, kept in keep.items():
            _check_mask(name, kept, tensors)
        self._tensors, self._optimizer = tensors, optimizer
        here = {name: kept.to(tensors[name].device) for name, kept in keep.items()}
        candidates = [Weights(name, kept.shape) for name, kept in keep.items() if not kept.all()]
        self._factors = entry_factors(candidates, here, tensors)
        self._hold()
        self._hooks = StepHooks(optimizer, before=lambda: None, after=self._hold)

    def _hold(self) -> None:
        hold_(self._tensors, self._factors, self._optimizer)

    def scores(self, model: nn.Module, couplings: Couplings) -> dict[str, Tensor]:  # noqa: ARG002
        """One for each unit."""
        return {coupling.name: torch.ones(coupling.num_units) for coupling in couplings.free}

    def structure(self) -> Structure:
        """The structure that is held."""
        return self._structure

    def detach(self) -> None:
        """Remove the hooks; what is left out is zero."""
        if self._hooks is not None:
            self._hooks.remove()

    def state_dict(self) -> dict[str, Any]:
        """Marks of the masks, which themselves are given anew when the run goes on."""
        return {**super().state_dict(), "masks": dict(self._marks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the masks of before.

        Raises:
            TrainError: The checkpoint is of another method, level or structure.
        """
        super().load_state_dict(state)
        saved = state["masks"]
        for name in sorted(saved.keys() | self._marks.keys()):
            if saved.get(name) != self._marks.get(name):
                raise TrainError(
                    f"{name}: the checkpoint was saved with another mask. "
                    "Resume with the structure that it was saved with, or train anew."
                )


def _mark(kept: Tensor) -> str:
    """A short text that two masks share only if they are equal."""
    return hashlib.sha256(kept.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def _check_mask(name: str, kept: Tensor, tensors: Mapping[str, Tensor]) -> None:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != kept.shape:
        found = "has no such weight" if tensor is None else f"has {tuple(tensor.shape)} there"
        raise TrainError(
            f"{name}: the structure keeps weights of shape {tuple(kept.shape)}, the network "
            f"{found}. Use the structure with the network it was made for."
        )

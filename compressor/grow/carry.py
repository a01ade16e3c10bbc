"""From one round to the next: the network, and all that training holds of it, brought along."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import named_tensors
from compressor.errors import CheckError
from compressor.grow.growth import Growth, Stand
from compressor.grow.widen import Between, Cutting, split_, widened, widened_moments
from compressor.sparsity.split_lbi import SplitLBI
from compressor.strip.compare import relative_difference
from compressor.structure import Path
from compressor.train.optimizer import make_optimizer, parameter_names

MAX_CHANGE = 1e-5
"""Largest relative change of the outputs at a growth, in float32; 1e-6 is usual."""


def brought(
    growth: Growth,
    stand: Stand,
    after: Cutting,
    state: Mapping[str, Any],
    sparsifier: SplitLBI,
) -> tuple[dict[str, Any], SplitLBI]:
    """State and method for the network of another cut, on which ``stand`` then stands."""
    before, old = stand.cutting, stand.model
    new = widened(old, growth.full, before, after)
    if after.structure.num_kept > before.structure.num_kept:
        if growth.settings.new_units == "split":
            _split(growth, new, (before, after), sparsifier.path(), stand.number)
        stand.film[-1]["change_of_outputs"] = changed_by(old, new, growth.inputs)
    between = Between.of(before, after)
    olds, news = named_tensors(old), named_tensors(new)

    def sources(name: str) -> tuple[Tensor, tuple[int, ...]]:
        return between.source(name, news[name], olds[name]), tuple(olds[name].shape)

    # Attached for a moment, which makes its state in the shapes of the new network.
    method = growth.sparsifier()
    method.attach(new, make_optimizer(new, growth.job.settings), after.couplings)
    method.load_state_dict(method.grown_state(sparsifier, sources, between.units))
    method.detach()
    stand.cutting, stand.model = after, new
    moments = widened_moments(state["optimizer"], parameter_names(new), between, (olds, news))
    wider = {
        **state,
        "model": new.state_dict(),
        "optimizer": moments,
        "sparsifier": method.state_dict(),
    }
    return wider, method


def _split(
    growth: Growth,
    model: nn.Module,
    cuttings: tuple[Cutting, Cutting],
    path: Path,
    number: int,
) -> None:
    """Let the new units of ``model`` begin as copies of the best ones."""
    generator = torch.Generator().manual_seed(growth.job.seed + number)
    between = Between.of(*cuttings)
    for coupling in cuttings[1].couplings.free:
        new = between.new_units(coupling.name, coupling.num_units)
        best = path.couplings[coupling.name].score.argsort(descending=True, stable=True)
        if (count := int(new.sum())) and count <= len(best):
            parents = between.units[coupling.name][1][best[:count]]
            split_(model, coupling, new, parents, generator)


@torch.no_grad()
def changed_by(old: nn.Module, new: nn.Module, inputs: Tensor) -> float:
    """Relative difference of the outputs of two networks in eval mode.

    Raises:
        CheckError: It is more than ``MAX_CHANGE``.
    """
    change = relative_difference(old.eval()(inputs), new.eval()(inputs))
    if not change <= MAX_CHANGE:
        raise CheckError(
            f"Widening changed the output by {change:.1e}, more than {MAX_CHANGE:g}. Norms over "
            "several channels (layer norm, group norm) see the new ones; grow a network with "
            "batch norm, or search at full width."
        )
    return change

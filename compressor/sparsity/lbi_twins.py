"""Which twins a network has at each level, and which of them move together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.count import WEIGHTED
from compressor.couplings.coupling import Coupling, Couplings, Member, first_names
from compressor.errors import TrainError
from compressor.sparsity.candidates import Level, chosen_weights
from compressor.sparsity.hooks import groups_of
from compressor.sparsity.lbi_groups import GroupTwins
from compressor.sparsity.lbi_parts import CONVOLUTIONS, Part, filter_part, unit_part, weight_part
from compressor.sparsity.lbi_weights import WeightTwins
from compressor.sparsity.twin import Twin, Twins

Carrier = Literal["auto", "norm-scale", "filter"]

GroupWeight = Literal["initial-norm", "one", "root"]


@dataclass(frozen=True)
class Fresh:
    """A twin before the first step.

    Attributes:
        twin: The twin.
        norms: Initial ||W_g|| of its groups.
        single: Whether every single weight is a group.
    """

    twin: Twin
    norms: Tensor
    single: bool


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


def unit_parts(
    couplings: Couplings, tensors: Mapping[str, Tensor], carrier: Carrier
) -> dict[str, tuple[Part, ...]]:
    """Where the units of each coupling lie, by coupling name."""
    return {
        coupling.name: tuple(
            unit_part(member, tensors[member.tensor]) for member in twin_members(coupling, carrier)
        )
        for coupling in couplings.free
    }


def layer_parts(
    model: nn.Module, tensors: Mapping[str, Tensor], level: Level
) -> dict[str, tuple[Part, ...]]:
    """Where the groups of each weight lie, by parameter name.

    Filters of convolutions at level ``filter``, single weights elsewhere; at ``2:4`` only weights
    that can be cut so.

    Raises:
        TrainError: There is no such weight, or one is computed.
    """
    parts: dict[str, tuple[Part, ...]] = {}
    layers = _weighted_layers(model)
    for name in chosen_weights(model, level):
        by_filter = level == "filter" and isinstance(layers[name], CONVOLUTIONS)
        part = filter_part(layers[name], name, tensors[name]) if by_filter else None
        parts[name] = (part or weight_part(name, tensors[name]),)
    return parts


def _weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The first layer that holds each weight, by the weight's first name."""
    first = first_names(model)
    layers: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, WEIGHTED):
            layers.setdefault(first[f"{name}.weight" if name else "weight"], layer)
    return layers


def fresh_twin(
    name: str,
    parts: tuple[Part, ...],
    tensors: Mapping[str, Tensor],
    lam: float,
    group_weight: GroupWeight,
) -> Fresh:
    """The twin that begins at the weights of now.

    Raises:
        TrainError: All of them are zero.
    """
    norms = torch.stack([part.norms(part.of(tensors[part.tensor])) for part in parts])
    norms = norms[0] if len(parts) == 1 else torch.linalg.vector_norm(norms, dim=0)
    mean = float(norms.mean())
    if mean == 0:
        raise TrainError(
            f"{name}: all weights that would carry the twin are zero. "
            "Choose another sparsity.twin or sparsity.level, or another initialisation."
        )
    size = sum(part.group_size for part in parts)
    weights = {"initial-norm": mean, "one": 1.0, "root": math.sqrt(size)}
    single = len(parts) == 1 and len(parts[0].axes) == len(parts[0].shape) > 1
    return Fresh(Twin(name, parts, lam * weights[group_weight]), norms, single)


def join(
    fresh: Sequence[Fresh],
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    kappa: float,
    *,
    keep_epochs: bool,
) -> list[tuple[int, Twins]]:
    """Twins that can move together, each with the place of their group in the optimiser.

    Raises:
        TrainError: A parameter is not in the optimiser.
    """
    together: dict[tuple[int, bool, torch.device, torch.dtype], list[Twin]] = {}
    for some in fresh:
        first = tensors[some.twin.parts[0].tensor]
        named = {part.tensor: tensors[part.tensor] for part in some.twin.parts}
        # Where the parts lie in several groups the step size is that of the first one's.
        place, *_ = groups_of(
            optimizer, named, f"{some.twin.name}: its twin is carried by"
        ).values()
        key = (place, some.single, first.device, first.dtype)
        together.setdefault(key, []).append(some.twin)
    return [
        (
            place,
            WeightTwins(twins, tensors, kappa, keep_epochs=keep_epochs)
            if single
            else GroupTwins(twins, tensors, kappa),
        )
        for (place, single, _, _), twins in together.items()
    ]

"""What a method may keep or leave out, one thing at a time: single weights, or units.

A method that scores, masks, drops and grows is written once over ``Candidates``: the level in its
settings says whether a candidate is one entry of a weight, as published, or one unit of a coupling,
whose removal makes a smaller network.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from compressor.count import WEIGHTED
from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    Member,
    first_names,
    named_tensors,
)
from compressor.errors import TrainError
from compressor.sparsity.carriers import carriers
from compressor.sparsity.masks import has_groups
from compressor.structure import Granularity, Structure

Level = Literal["unit", "filter", "weight", "2:4"]
"""What a method chooses: units of couplings, filters of single layers, single weights, or two of
every four weights along the inputs."""

FAINT = 1e-10
"""Factor for the carriers of a left-out unit whose gradient is wanted, in place of zero.

A ReLU passes no gradient at exactly zero, so behind one a unit with zero carriers has none. A unit
this faint adds nothing to a sum that float32 or bfloat16 can tell, but the ReLU opens where it
would for the whole unit. Much fainter ones make products that are subnormal, and slow on a CPU. In
float16 it is zero again, and so is the gradient.
"""

GRANULARITIES: dict[Level, Granularity] = {
    "unit": "channel",
    "filter": "weight",
    "weight": "weight",
    "2:4": "2:4",
}
"""What a structure of each level is made of: filters leave whole blocks of single weights."""

IN_FOURS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Those whose weight has its inputs along axis 1, where two of every four may stay."""

Tensors = Mapping[str, Tensor]


class Candidates(Protocol):
    """The candidates of one weight tensor, or of one coupling.

    Attributes:
        name: Key in the structure: of the parameter, or of the coupling.
        shape: Of the mask: that of the parameter, or ``(units,)``.
        tensors: Names of the parameters that masking changes.
    """

    name: str
    shape: torch.Size
    tensors: tuple[str, ...]

    def dot(self, a: Tensors, b: Tensors) -> Tensor:
        """Sum of ``a * b`` over the entries of each candidate, of ``shape``."""
        ...

    def multiply_(self, tensors: Tensors, factors: Tensor) -> None:
        """Multiply the entries of each candidate by its factor (of ``shape``), in place."""
        ...


class Weights:
    """Every entry of one parameter is a candidate."""

    def __init__(self, name: str, shape: torch.Size) -> None:
        self.name, self.shape = name, shape
        self.tensors: tuple[str, ...] = (name,)

    def dot(self, a: Tensors, b: Tensors) -> Tensor:
        """The product itself."""
        return a[self.name] * b[self.name]

    def multiply_(self, tensors: Tensors, factors: Tensor) -> None:
        """Multiply entry by entry."""
        tensors[self.name].mul_(factors)


class Units:
    """Every unit of one coupling is a candidate, through the entries that carry it.

    A unit is left out by zeroing its carriers: what it gives is then zero, while the slices that
    read it stay. For a gradient that still says what it would be worth, see ``FAINT``.
    """

    def __init__(
        self, coupling: Coupling, members: tuple[Member, ...], device: torch.device
    ) -> None:
        """Units of ``coupling`` whose carriers are ``members``."""
        self.name, self.shape = coupling.name, torch.Size([coupling.num_units])
        self._members = members
        self._index = [member.index.to(device) for member in self._members]
        self.tensors = tuple(dict.fromkeys(member.tensor for member in self._members))

    def dot(self, a: Tensors, b: Tensors) -> Tensor:
        """Sum over all carriers of each unit."""
        sums = []
        for member, index in zip(self._members, self._index, strict=True):
            product = (a[member.tensor] * b[member.tensor]).movedim(member.axis, 0)
            places = product if product.dim() == 1 else product.flatten(1).sum(1)
            sums.append(places[index].sum(1))
        return torch.stack(sums).sum(0)

    def multiply_(self, tensors: Tensors, factors: Tensor) -> None:
        """Multiply all carriers of each unit."""
        for member, index in zip(self._members, self._index, strict=True):
            tensor = tensors[member.tensor].movedim(member.axis, 0)
            along = torch.ones(len(tensor), dtype=tensor.dtype, device=tensor.device)
            along[index] = factors.to(tensor.dtype).unsqueeze(1).expand(index.shape)
            tensor.mul_(along.view(-1, *[1] * (tensor.dim() - 1)))


def weight_names(
    model: nn.Module, layers: tuple[type[nn.Module], ...] = WEIGHTED
) -> tuple[str, ...]:
    """Names of the weights of all convolutions and linear layers, a shared one once.

    Args:
        model: The network.
        layers: Only of layers of these types.

    Raises:
        TrainError: A layer computes its weight, so there is no parameter to choose from.
    """
    first = first_names(model)
    names = [
        f"{name}.weight" if name else "weight"
        for name, layer in model.named_modules()
        if isinstance(layer, layers)
    ]
    if computed := [name for name in names if name not in first]:
        raise TrainError(
            f"{computed[0]} is computed, as by weight norm, and cannot be masked. "
            'Remove its parametrization, or choose sparsity.level "unit".'
        )
    return tuple(dict.fromkeys(first[name] for name in names))


def find_candidates(model: nn.Module, couplings: Couplings, level: Level) -> list[Candidates]:
    """All candidates of a network, at the level of units or of single weights.

    Raises:
        TrainError: At the level of weights, if there are none.
    """
    tensors = named_tensors(model)
    if level == "unit":
        device = next((value.device for value in tensors.values()), torch.device("cpu"))
        return [Units(c, carriers(c, model), device) for c in couplings.free]
    return [Weights(name, tensors[name].shape) for name in chosen_weights(model, level)]


def chosen_weights(model: nn.Module, level: Level) -> tuple[str, ...]:
    """Names of the weights that a level other than ``unit`` chooses from.

    At ``2:4`` those whose inputs divide by four, at the others all.

    Raises:
        TrainError: There is none, or one is computed.
    """
    tensors, names = named_tensors(model), weight_names(model)
    if level == "2:4":
        in_fours = weight_names(model, IN_FOURS)
        names = tuple(name for name in in_fours if has_groups(tensors[name].shape))
    if not names:
        raise TrainError(
            f"No layer has weights for level {level} (for 2:4, inputs that divide by four). "
            'Set sparsity.level to another, such as "unit".'
        )
    return names


def whole_weights(model: nn.Module, level: Level) -> dict[str, Tensor]:
    """Masks that keep everything, of the weights that a level does not choose from."""
    if level == "unit":
        return {}
    tensors, chosen = named_tensors(model), chosen_weights(model, level)
    return {
        name: torch.ones(tensors[name].shape, dtype=torch.bool)
        for name in weight_names(model)
        if name not in chosen
    }


def live_units(couplings: Couplings, structure: Structure) -> Structure:
    """Units that a structure of single weights leaves something of.

    A unit is alive while a weight that makes it and a weight that reads it are kept. Tensors that
    the structure does not name are whole.
    """
    return Structure({c.name: _alive(c, structure) for c in couplings.free})


def _alive(coupling: Coupling, structure: Structure) -> Tensor:
    alive = torch.ones(coupling.num_units, dtype=torch.bool)
    for members in (coupling.of_kind("filter"), coupling.of_kind("input")):
        if members:
            alive &= torch.stack([_any_kept(member, structure) for member in members]).any(0)
    return alive


def _any_kept(member: Member, structure: Structure) -> Tensor:
    kept = structure.keep.get(member.tensor)
    if kept is None:
        return torch.ones(len(member.index), dtype=torch.bool)
    return member.rows(kept).any(dim=1)


def kept_norms(couplings: Couplings, tensors: Tensors, structure: Structure) -> dict[str, Tensor]:
    """How much of each unit a structure of single weights keeps, over its coupling's mean.

    The joint 2-norm of the kept weights of its filters, float64, shape ``(units,)``, by coupling.
    """
    return {
        coupling.name: _kept_norm(coupling.of_kind("filter"), tensors, structure)
        for coupling in couplings.free
    }


def _kept_norm(members: Iterable[Member], tensors: Tensors, structure: Structure) -> Tensor:
    squares = []
    for member in members:
        tensor = tensors[member.tensor].detach().cpu().double()
        kept = structure.keep.get(member.tensor)
        shown = tensor if kept is None else tensor * kept
        squares.append(member.rows(shown).square().sum(dim=1))
    norms = torch.stack(squares).sum(0).sqrt()
    mean = norms.mean()
    return norms / mean if mean > 0 else torch.ones_like(norms)

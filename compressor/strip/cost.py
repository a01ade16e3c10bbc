"""What a structure costs, in closed form: no network is built to know it."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from compressor.count import WEIGHTED
from compressor.couplings.coupling import Coupling, Couplings
from compressor.strip.table import Ints, Piece, Table


@dataclass(frozen=True)
class Cost:
    """What a structure costs, in closed form: no network is built to know it.

    Each weight of a convolution or linear layer is used a fixed number of times per image, so MACs
    follow the number of kept weights, and that is a product over the tensor's axes. Products of two
    activations follow the one coupling that lies whole inside the module that makes them: the heads
    of attention. Where there are several, they count as if nothing were removed, and the slim
    network is below what is said here.
    """

    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each parameter, a shared one under one of its names."""
    macs_per_entry: Mapping[str, float]
    """For each parameter that is multiplied: how often each of its entries is used per image."""
    fixed_macs: float
    """MACs that nothing changes: of a weight that is computed, or between activations."""
    cut_axes: Mapping[str, Mapping[int, tuple[tuple[str, int], ...]]]
    """For each tensor and axis: the couplings along it, with the positions one unit has."""
    products: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """For couplings that products of activations follow: their units, and MACs of all products."""

    @classmethod
    def of(cls, model: nn.Module, couplings: Couplings, macs: Mapping[str, int]) -> "Cost":
        """Cost model of ``model``; ``macs`` as ``layer_macs`` counts them."""
        parameters = dict(model.named_parameters())
        first_name = {id(parameter): name for name, parameter in parameters.items()}
        weights: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        for name, layer in model.named_modules():
            if isinstance(layer, WEIGHTED):
                weights[name] = layer.weight
        per_entry: dict[str, float] = defaultdict(float)
        products: dict[str, tuple[int, float]] = {}
        fixed_macs = 0.0
        for name, amount in macs.items():
            weight = weights.get(name)
            if weight is not None and id(weight) in first_name:
                # A weight that two layers share adds up the uses of both.
                per_entry[first_name[id(weight)]] += amount / weight.numel()
            elif weight is None and (coupling := _only_inside(name, couplings)):
                products[coupling.name] = (coupling.num_units, amount)
            else:
                # A weight that is computed anew at each use, as under weight norm, is never cut.
                fixed_macs += amount
        axes: dict[str, dict[int, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
        for coupling in couplings.free:
            for member in coupling.members:
                axes[member.tensor][member.axis].append((coupling.name, member.index.shape[1]))
        return cls(
            shapes={name: tuple(tensor.shape) for name, tensor in parameters.items()},
            macs_per_entry=dict(per_entry),
            fixed_macs=fixed_macs,
            cut_axes={
                tensor: {axis: tuple(owners) for axis, owners in by_axis.items()}
                for tensor, by_axis in axes.items()
            },
            products=products,
        )

    def macs(self, removed: Mapping[str, int]) -> float:
        """MACs per image when each coupling loses the given number of units."""
        return self._macs.cost(self._lost(removed))

    def params(self, removed: Mapping[str, int]) -> float:
        """Parameters when each coupling loses the given number of units."""
        return self._params.cost(self._lost(removed))

    def sizes_left(self, tensor: str, removed: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of a parameter when each coupling loses the given number of units."""
        left = list(self.shapes[tensor])
        for axis, owners in self.cut_axes.get(tensor, {}).items():
            left[axis] -= sum(block * removed.get(name, 0) for name, block in owners)
        return tuple(left)

    def macs_table(self, names: Sequence[str]) -> Table:
        """``macs`` for couplings by number, in the order of ``names``; others stay whole."""
        numbers = {name: number for number, name in enumerate(names)}
        products = [
            Piece(macs / units, [units], [[(numbers[name], 1)] if name in numbers else []])
            for name, (units, macs) in self.products.items()
        ]
        pieces = self.pieces(names, self.macs_per_entry)
        return Table(len(names), self.fixed_macs, pieces + products)

    def params_table(self, names: Sequence[str]) -> Table:
        """``params`` for couplings by number, in the order of ``names``; others stay whole."""
        numbers = {name: number for number, name in enumerate(names)}
        return Table(len(names), 0.0, self._pieces(numbers, dict.fromkeys(self.shapes, 1.0)))

    def pieces(self, names: Sequence[str], weights: Collection[str]) -> list[Piece]:
        """MACs of those ``weights`` that are multiplied, for couplings by number."""
        numbers = {name: number for number, name in enumerate(names)}
        uses = {name: self.macs_per_entry[name] for name in self.macs_per_entry if name in weights}
        return self._pieces(numbers, uses)

    def macs_of(self, weights: Collection[str]) -> float:
        """MACs per image of some weights at full width."""
        return sum(math.prod(self.shapes[name]) * self.macs_per_entry[name] for name in weights)

    def _pieces(self, numbers: Mapping[str, int], per_entry: Mapping[str, float]) -> list[Piece]:
        pieces = []
        for tensor, uses in per_entry.items():
            shape, cuts = self.shapes[tensor], self.cut_axes.get(tensor, {})
            whole = math.prod(size for axis, size in enumerate(shape) if axis not in cuts)
            owners = [
                [(numbers[name], block) for name, block in along if name in numbers]
                for along in cuts.values()
            ]
            pieces.append(Piece(uses * whole, [shape[axis] for axis in cuts], owners))
        return pieces

    @cached_property
    def _names(self) -> tuple[str, ...]:
        along = (owners for axes in self.cut_axes.values() for owners in axes.values())
        return tuple(dict.fromkeys(name for owners in along for name, _ in owners))

    @cached_property
    def _macs(self) -> Table:
        return self.macs_table(self._names)

    @cached_property
    def _params(self) -> Table:
        return self.params_table(self._names)

    def _lost(self, removed: Mapping[str, int]) -> Ints:
        return np.array([removed.get(name, 0) for name in self._names], dtype=np.int64)


def _only_inside(module: str, couplings: Couplings) -> Coupling | None:
    """The only coupling all of whose members lie inside ``module``; not the whole network."""
    prefix = f"{module}."
    inside = [
        coupling
        for coupling in couplings.free
        if module and all(member.tensor.startswith(prefix) for member in coupling.members)
    ]
    return inside[0] if len(inside) == 1 else None

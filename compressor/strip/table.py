"""Cost of a network by the widths of its couplings: arrays only, no network and no names.

What one unit costs depends on the widths of all other couplings, since a weight is as large as the
product of its axes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 256
"""Choices whose cost is found at once, which bounds the memory."""


class Piece(NamedTuple):
    """One tensor of a network as its cost sees it.

    Attributes:
        factor: Cost of one entry, times the sizes of the axes that nothing cuts.
        sizes: Sizes of the axes that couplings cut.
        cuts: For each of these axes the couplings along it, by number, and positions of one unit.
    """

    factor: float
    sizes: Sequence[int]
    cuts: Sequence[Sequence[tuple[int, int]]]


class CostTable(Protocol):
    """Cost of a network by what each of its couplings loses, whatever it is counted in."""

    def cost(self, removed: Ints) -> float:
        """Cost when each coupling loses so many units, shape ``(couplings,)``."""
        ...

    def costs(self, removed: Ints) -> Floats:
        """``cost`` of several choices, shape ``(choices, couplings)``."""
        ...

    def rises(self, removed: Ints, added: Ints) -> Floats:
        """What it costs to give each coupling alone ``added`` units back; both by coupling."""
        ...


class Sizes:
    """Sizes of the cut axes of all pieces, by what each coupling loses.

    Attributes:
        owners: For each pair of a coupling and a piece that it cuts, the coupling's number.
        pieces: For each of these pairs the piece's number.
    """

    def __init__(self, num_couplings: int, pieces: Sequence[Piece]) -> None:
        num_axes = max((len(piece.sizes) for piece in pieces), default=1) or 1
        self._sizes = np.ones((len(pieces), num_axes))
        blocks: dict[tuple[int, int], Floats] = {}
        for number, piece in enumerate(pieces):
            self._sizes[number, : len(piece.sizes)] = piece.sizes
            for axis, owners in enumerate(piece.cuts):
                for coupling, block in owners:
                    blocks.setdefault((coupling, number), np.zeros(num_axes))[axis] += block
        pairs = np.array(list(blocks), dtype=np.int64).reshape(-1, 2)
        self.owners, self.pieces = pairs[:, 0], pairs[:, 1]
        self._blocks = np.array(list(blocks.values())).reshape(-1, num_axes)
        self._places = (self.pieces[:, None] * num_axes + np.arange(num_axes)).ravel()
        self._per_unit = np.zeros((num_couplings, len(pieces), num_axes))
        self._per_unit[self.owners, self.pieces] = self._blocks

    def left(self, removed: Ints) -> Floats:
        """Sizes when each coupling loses so many units; shape ``(pieces, axes)``."""
        lost = (self._blocks * removed[self.owners, None]).ravel()
        gone = np.bincount(self._places, weights=lost, minlength=self._sizes.size)
        return self._sizes - gone.reshape(self._sizes.shape)

    def several(self, removed: Ints) -> Iterator[Floats]:
        """``left`` of choices ``(choices, couplings)``, in parts ``(some choices, pieces, axes)``.

        Quick where the choices differ in few couplings.
        """
        differ = np.flatnonzero((removed != removed[0]).any(axis=0))
        left = self.left(removed[0])
        for chunk in np.array_split(removed, -(-len(removed) // CHUNK)):
            more = (chunk - removed[0])[:, differ]
            yield left - np.tensordot(more, self._per_unit[differ], axes=1)

    def wider(self, left: Floats, added: Ints) -> Floats:
        """Sizes of each pair's piece when its coupling alone gets ``added`` units back.

        Args:
            left: The sizes before, shape ``(pieces, axes)``.
            added: Units by coupling.

        Returns:
            Shape ``(pairs, axes)``.
        """
        wider: Floats = left[self.pieces] + self._blocks * added[self.owners, None]
        return wider


class Table:
    """Cost that is the sum of products of sizes: MACs, parameters.

    Args:
        num_couplings: How many couplings there are.
        fixed: Cost of what belongs to no tensor.
        pieces: The tensors of the network.
    """

    def __init__(self, num_couplings: int, fixed: float, pieces: Sequence[Piece]) -> None:
        self.num_couplings, self._fixed = num_couplings, fixed
        self._factors = np.array([piece.factor for piece in pieces], dtype=np.float64)
        self._sizes = Sizes(num_couplings, pieces)

    def cost(self, removed: Ints) -> float:
        """Cost when each coupling loses so many units, shape ``(couplings,)``."""
        left = self._sizes.left(removed)
        return self._fixed + float((self._factors * left.prod(axis=1)).sum())

    def costs(self, removed: Ints) -> Floats:
        """``cost`` of several choices, shape ``(choices, couplings)``; quick where few differ."""
        return np.concatenate(
            [
                self._fixed + sizes.prod(axis=2) @ self._factors
                for sizes in self._sizes.several(removed)
            ]
        )

    def rises(self, removed: Ints, added: Ints) -> Floats:
        """What it costs to give each coupling alone ``added`` units back; both by coupling."""
        left, pieces = self._sizes.left(removed), self._sizes.pieces
        before = self._factors * left.prod(axis=1)
        after = self._factors[pieces] * self._sizes.wider(left, added).prod(axis=1)
        rises = np.bincount(
            self._sizes.owners, after - before[pieces], minlength=self.num_couplings
        )
        return rises.astype(np.float64)

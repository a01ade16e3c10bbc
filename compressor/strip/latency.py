"""Time of a network by the widths of its couplings: layers measured on a grid, and the rest.

Nothing is measured here: grids, the time of the dense network and whoever measures are given. The
time of a layer does not follow its MACs: engines handle channels in blocks, so a width costs what
the next whole block costs, and every layer has a part that no width changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compressor.strip.cost import Cost
from compressor.strip.layer_shapes import LayerShape
from compressor.strip.table import Floats, Ints, Piece, Sizes, Table
from compressor.structure import Structure

MAX_CORRECTIONS = 3
"""Networks that are built and measured after the first one, at most."""

NEAR = 0.05
"""A measured time so near to what was asked, as a share of it, is not corrected."""

LIMIT = 0.1
"""Further away than this share, the record and the console warn."""


@dataclass(frozen=True)
class Grid:
    """Measured times of one layer at some widths.

    Attributes:
        outs: Widths of the weight's axis 0, ascending; the last is that of the dense network.
        intos: Widths of its axis 1, likewise.
        ms: Shape ``(outs, intos)``, milliseconds.
        block: Channels that the engine handles at once; a width costs what the next whole block
            costs, which is 1 where that is not so.
    """

    outs: tuple[int, ...]
    intos: tuple[int, ...]
    ms: Floats
    block: int = 1

    def rising(self) -> "Grid":
        """The same, but wider is never quicker: noise is spread evenly on both sides."""
        ms = self.ms
        for axis in (0, 1):
            up = np.maximum.accumulate(ms, axis=axis)
            down = np.flip(np.minimum.accumulate(np.flip(ms, axis), axis=axis), axis)
            ms = (up + down) / 2
        return replace(self, ms=ms)


class Grids:
    """Grids of several layers, read at once.

    A layer without channels costs nothing, and from there to the first measured width the time is
    taken to grow evenly.
    """

    def __init__(self, grids: Sequence[Grid]) -> None:
        size = 1 + max((len(axis) for g in grids for axis in (g.outs, g.intos)), default=1)
        self._points = np.zeros((len(grids), 2, size))
        self._ms = np.zeros((len(grids), size, size))
        for number, grid in enumerate(grids):
            for axis, points in enumerate((grid.outs, grid.intos)):
                # Beyond the last point nothing is asked for; the rest only has to ascend.
                beyond = points[-1] + np.arange(1, size - len(points))
                self._points[number, axis] = [0, *points, *beyond]
            inner = np.pad(grid.ms, [(0, size - 1 - n) for n in grid.ms.shape], mode="edge")
            self._ms[number, 1:, 1:] = inner
        self._tops = np.array([(g.outs[-1], g.intos[-1]) for g in grids]).reshape(-1, 2)
        self._blocks = np.array([g.block for g in grids]).reshape(-1, 1)

    def at(self, sizes: Floats, layers: Ints) -> Floats:
        """Milliseconds of each of ``layers`` at the given widths.

        Args:
            sizes: Shape ``(..., layers, 2)``: widths of axis 0 and 1.
            layers: Numbers of the grids, shape ``(layers,)``.

        Returns:
            Shape ``(..., layers)``.
        """
        blocks = self._blocks[layers]
        sizes = np.minimum(np.ceil(sizes / blocks) * blocks, self._tops[layers])
        points = self._points[layers]
        above = (sizes[..., None] > points[:, :, 1:-1]).sum(axis=-1)
        low = np.take_along_axis(
            np.broadcast_to(points, (*sizes.shape, points.shape[-1])), above[..., None], -1
        )[..., 0]
        high = np.take_along_axis(
            np.broadcast_to(points, (*sizes.shape, points.shape[-1])), above[..., None] + 1, -1
        )[..., 0]
        part = (sizes - low) / (high - low)
        out, into = above[..., 0], above[..., 1]
        near = self._mixed(layers, out, into, part[..., 1])
        far = self._mixed(layers, out + 1, into, part[..., 1])
        mixed: Floats = near + (far - near) * part[..., 0]
        return mixed

    def _mixed(self, layers: Ints, out: Ints, into: Ints, part: Floats) -> Floats:
        """Between two points of axis 1, at a point of axis 0."""
        left, right = self._ms[layers, out, into], self._ms[layers, out, into + 1]
        mixed: Floats = left + (right - left) * part
        return mixed


class LatencyTable:
    """Time of a network by what its couplings lose, in milliseconds; of the shape of ``Table``.

    Args:
        num_couplings: How many couplings there are.
        layers: The layers that were measured, sizes of axis 0 and 1 of their weights.
        grids: Times of each of them.
        rest: Time of everything else.
    """

    def __init__(
        self, num_couplings: int, layers: Sequence[Piece], grids: Sequence[Grid], rest: Table
    ) -> None:
        self.num_couplings, self._rest = num_couplings, rest
        self._sizes, self._grids = Sizes(num_couplings, layers), Grids(grids)
        self._all = np.arange(len(layers))

    def cost(self, removed: Ints) -> float:
        """Milliseconds when each coupling loses so many units, shape ``(couplings,)``."""
        times = self._grids.at(self._sizes.left(removed), self._all)
        return float(times.sum()) + self._rest.cost(removed)

    def costs(self, removed: Ints) -> Floats:
        """``cost`` of several choices, shape ``(choices, couplings)``."""
        parts = [self._grids.at(s, self._all).sum(axis=-1) for s in self._sizes.several(removed)]
        return np.concatenate(parts) + self._rest.costs(removed)

    def rises(self, removed: Ints, added: Ints) -> Floats:
        """What it costs to give each coupling alone ``added`` units back; both by coupling."""
        left, pieces = self._sizes.left(removed), self._sizes.pieces
        before = self._grids.at(left, self._all)[pieces]
        after = self._grids.at(self._sizes.wider(left, added), pieces)
        rises = np.bincount(self._sizes.owners, after - before, minlength=self.num_couplings)
        return rises.astype(np.float64) + self._rest.rises(removed, added)


def latency_table(
    cost: Cost,
    names: Sequence[str],
    layers: Mapping[str, Sequence[LayerShape]],
    grids: Mapping[LayerShape, Grid],
    dense_ms: float,
) -> LatencyTable:
    """Time by what the couplings ``names`` lose; together with nothing lost it is ``dense_ms``.

    What the dense network takes more than its layers is the rest. Weights that were not measured
    get of it what their MACs would take at the rate of the layers; what remains goes with the
    activations that the layers make: additions, poolings, changes of layout. Where the layers
    alone take more than the network, since data that one layer leaves in the cache is quick for
    the next, all of them are taken to be that much quicker.

    Args:
        cost: Of the network.
        names: Couplings by number; others stay whole.
        layers: Shapes that each weight is used with.
        grids: Times of each shape.
        dense_ms: Time of the whole dense network.
    """
    numbers = {name: number for number, name in enumerate(names)}
    used = [(weight, shape) for weight, shapes in layers.items() for shape in shapes]
    pieces = [
        Piece(1.0, [shape.out, shape.into], [_owners(cost, numbers, weight, n) for n in (0, 1)])
        for weight, shape in used
    ]
    measured = [grids[shape].rising() for _, shape in used]
    layers_ms = float(sum(grid.ms[-1, -1] for grid in measured))
    quicker = min(1.0, dense_ms / layers_ms) if layers_ms else 1.0
    measured = [replace(grid, ms=grid.ms * quicker) for grid in measured]
    rest = _rest(cost, names, used, pieces, (layers_ms * quicker, dense_ms))
    return LatencyTable(len(names), pieces, measured, rest)


def _owners(
    cost: Cost, numbers: Mapping[str, int], weight: str, axis: int
) -> list[tuple[int, int]]:
    along = cost.cut_axes.get(weight, {}).get(axis, ())
    return [(numbers[name], block) for name, block in along if name in numbers]


def _rest(
    cost: Cost,
    names: Sequence[str],
    used: Sequence[tuple[str, LayerShape]],
    pieces: Sequence[Piece],
    times: tuple[float, float],
) -> Table:
    """Time of what was not measured; ``times`` are those of all layers and of the network."""
    layers_ms, dense_ms = times
    rest_ms, measured = max(0.0, dense_ms - layers_ms), {weight for weight, _ in used}
    macs = cost.macs_of(set(cost.macs_per_entry) & measured)
    other = cost.pieces(names, set(cost.macs_per_entry) - measured)
    other_macs = Table(len(names), 0.0, other).cost(np.zeros(len(names), dtype=np.int64))
    other_ms = min(rest_ms, other_macs * layers_ms / macs) if macs else rest_ms * bool(other)
    scaled = [p._replace(factor=p.factor * other_ms / other_macs) for p in other if other_macs]
    activations = sum(shape.positions * shape.out for _, shape in used)
    per_entry = (rest_ms - other_ms) / activations if activations else 0.0
    made = [
        Piece(per_entry * shape.positions, piece.sizes[:1], piece.cuts[:1])
        for (_, shape), piece in zip(used, pieces, strict=True)
    ]
    fixed = 0.0 if activations else rest_ms - other_ms
    return Table(len(names), fixed, [*scaled, *made])


@dataclass(frozen=True)
class Trial:
    """One network that was built and measured; all times as shares of the dense network's.

    Attributes:
        aimed: What was given to the solver.
        structure: What it made of it.
        predicted: Its time by the table.
        got: Its time as measured.
    """

    aimed: float
    structure: Structure
    predicted: float
    got: float

    def error(self, asked: float) -> float:
        """How far the measured time is from what was asked, as a share of it."""
        return abs(self.got / asked - 1)


def approach(
    asked: float,
    solve: Callable[[float], Structure],
    predict: Callable[[Structure], float],
    measure: Callable[[Structure], float],
) -> list[Trial]:
    """Networks on the way to a time: solved, measured, the aim corrected by what was missed.

    Ends when one is within ``NEAR`` of what was asked, when the correction leads to a network that
    was measured before, or after ``MAX_CORRECTIONS``.

    Args:
        asked: Share of the dense network's time, in (0, 1].
        solve: Structure for a share by the table.
        predict: Share of a structure by the table.
        measure: Share of a structure as measured.

    Returns:
        At least one, in their order.
    """
    trials: list[Trial] = []
    aim = asked
    for _ in range(1 + MAX_CORRECTIONS):
        structure = solve(aim)
        if any(same(structure, trial.structure) for trial in trials):
            break
        trials.append(Trial(aim, structure, predict(structure), measure(structure)))
        if trials[-1].error(asked) <= NEAR:
            break
        aim = min(1.0, asked * trials[-1].predicted / trials[-1].got)
    return trials


def nearest(trials: Sequence[Trial], asked: float) -> Trial:
    """The trial whose measured time is nearest to what was asked."""
    return min(trials, key=lambda trial: trial.error(asked))


def same(one: Structure, other: Structure) -> bool:
    """Whether two structures of one network keep the same units."""
    return all(bool((one.keep[name] == other.keep[name]).all()) for name in one.keep)

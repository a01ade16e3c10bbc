"""Which constants of a captured graph change when units leave it: sizes of views, bounds of slices.

A module's own forward may compute sizes in ways that no attribute mends. The captured graph has
them as plain numbers, and the labels of every tensor say what each becomes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from compressor.couplings.call import argument, operator_name
from compressor.couplings.program import Program
from compressor.couplings.sheets import NO_LABEL, Value, compact
from compressor.errors import StripError


@dataclass(frozen=True)
class Edit:
    """One argument of one operator call of the captured graph, and what it becomes.

    Attributes:
        node: Name of the call.
        operator: Its operator, to notice another graph.
        argument: Schema name of the argument, or ``divisor`` for a norm that keeps its old one.
        place: Position inside the argument where that is a list; None where it is a number.
        value: What stands there in the slim network.
    """

    node: str
    operator: str
    argument: str
    place: int | None
    value: int | float

    def to_json(self) -> list[Any]:
        """JSON value."""
        return [self.node, self.operator, self.argument, self.place, self.value]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> "Edit":
        """Read what ``to_json`` wrote."""
        node, operator, argument, place, number = value
        return cls(node, operator, argument, place, number)


def edits_of(program: Program, keep: Mapping[str, Tensor]) -> tuple[Edit, ...]:
    """All edits of the graph when each coupling keeps the given units (bool, by coupling name)."""
    kept = program.kept_labels(keep)
    found: list[Edit] = []
    for node in program.nodes:
        editor = EDITORS.get(operator_name(node.target))
        if editor is not None:
            found += editor(Seen(node, program.values, kept))
    return tuple(found)


@dataclass(frozen=True)
class Seen:
    """A node, the values of the graph, and which labels are kept."""

    node: fx.Node
    values: Mapping[fx.Node, Any]
    kept: Tensor

    def argument(self, name: str) -> Any:
        """An argument of the call by its name in the schema."""
        return argument(self.node, name)

    def value(self, name: str) -> Value:
        """A tensor argument."""
        found = self.values[self.argument(name)]
        assert isinstance(found, Value)
        return found

    @property
    def result(self) -> Value:
        """The first tensor that the call gives."""
        found = self.values[self.node]
        first = found[0] if isinstance(found, tuple) else found
        assert isinstance(first, Value)
        return first

    def mask(self, value: Value, axis: int) -> Tensor:
        """Which places along ``axis`` stay, bool, shape ``(size,)``."""
        stays = torch.ones(value.shape[axis], dtype=torch.bool)
        for sheet in value.along(axis):
            labels = compact(sheet.labels)
            alive = self.kept[labels.clamp_min(0)] | (labels == NO_LABEL)
            others = [other for other in range(labels.dim()) if other != axis]
            stays &= alive.permute([axis, *others]).reshape(len(stays), -1).any(dim=1)
        return stays

    def size(self, value: Value, axis: int) -> int:
        """How many places along ``axis`` stay."""
        return int(self.mask(value, axis).sum())

    def changed(self, value: Value) -> list[tuple[int, int]]:
        """Axes that lose places, with their new size."""
        sizes = [(axis, self.size(value, axis)) for axis in range(len(value.shape))]
        return [(axis, size) for axis, size in sizes if size != value.shape[axis]]

    def edit(self, argument: str, place: int | None, value: int | float) -> Edit:
        """An edit of this call."""
        return Edit(self.node.name, str(self.node.target), argument, place, value)


Editor = Callable[[Seen], Iterator[Edit]]


def _sizes(name: str) -> Editor:
    def editor(seen: Seen) -> Iterator[Edit]:
        sizes = seen.argument(name)
        if not isinstance(sizes, list | tuple):
            return
        shift = len(seen.result.shape) - len(sizes)
        free = -1 in sizes
        for axis, size in seen.changed(seen.result):
            place = axis - shift
            if place < 0 or sizes[place] == -1:
                continue
            if isinstance(sizes[place], fx.Node):
                # A product of batch and width: torch finds it from the other sizes.
                if free:
                    raise _two_unknowns(seen)
                free, size = True, -1
            yield seen.edit(name, place, size)

    return editor


def _two_unknowns(seen: Seen) -> StripError:
    return StripError(
        f"{seen.node.name} ({seen.node.target}) has two sizes that depend on the batch, so the "
        "captured graph cannot be cut. Keep the channels of that module."
    )


def _unflatten(seen: Seen) -> Iterator[Edit]:
    sizes, dims = seen.argument("sizes"), len(seen.value("self").shape)
    first = seen.argument("dim") % dims
    for axis, size in seen.changed(seen.result):
        if first <= axis < first + len(sizes) and sizes[axis - first] != -1:
            yield seen.edit("sizes", axis - first, size)


def _slice(seen: Seen) -> Iterator[Edit]:
    value = seen.value("self")
    axis = seen.argument("dim") % len(value.shape)
    mask = seen.mask(value, axis)
    for name in ("start", "end"):
        bound = seen.argument(name)
        if isinstance(bound, int) and abs(bound) <= len(mask) and not mask.all():
            place = bound if bound >= 0 else bound + len(mask)
            yield seen.edit(name, None, int(mask[:place].sum()))


def _narrow(seen: Seen) -> Iterator[Edit]:
    value = seen.value("self")
    axis, start = seen.argument("dim") % len(value.shape), seen.argument("start")
    mask = seen.mask(value, axis)
    if not isinstance(start, int) or mask.all():
        return
    before = mask[: start % len(mask)]
    yield seen.edit("start", None, int(before.sum()))
    yield seen.edit("length", None, seen.size(seen.result, axis))


def _select(seen: Seen) -> Iterator[Edit]:
    value = seen.value("self")
    axis = seen.argument("dim") % len(value.shape)
    mask, place = seen.mask(value, axis), seen.argument("index")
    if isinstance(place, int) and not mask.all():
        yield seen.edit("index", None, int(mask[: place % len(mask)].sum()))


def _parts(seen: Seen) -> Iterator[Edit]:
    axis = seen.argument("dim") % len(seen.result.shape)
    results = seen.values[seen.node]
    name = "split_sizes" if seen.argument("split_sizes") is not None else "split_size"
    given = seen.argument(name)
    if isinstance(given, int):
        if seen.size(results[0], axis) != given:
            yield seen.edit(name, None, seen.size(results[0], axis))
        return
    for place, part in enumerate(results):
        if seen.size(part, axis) != given[place]:
            yield seen.edit(name, place, seen.size(part, axis))


def _convolution(seen: Seen) -> Iterator[Edit]:
    value, weight, groups = seen.value("input"), seen.value("weight"), seen.argument("groups")
    axis = len(value.shape) - len(weight.shape) + 1
    transposed = operator_name(seen.node.target).startswith("conv_transpose")
    if groups == 1 or transposed:
        return
    left = seen.size(value, axis) // seen.size(weight, 1)
    if left != groups:
        yield seen.edit("groups", None, left)


def _layer_norm(seen: Seen) -> Iterator[Edit]:
    value, shape = seen.value("input"), seen.argument("normalized_shape")
    axis = len(value.shape) - len(shape)
    size = seen.size(value, axis)
    if size != shape[0]:
        yield seen.edit("normalized_shape", 0, size)
        yield seen.edit("divisor", None, math.prod(shape))


def _group_norm(seen: Seen) -> Iterator[Edit]:
    value, groups = seen.value("input"), seen.argument("num_groups")
    total, size = value.shape[1], seen.size(value, 1)
    if size == total:
        return
    per_group = total // groups
    if groups >= per_group:
        yield seen.edit("num_groups", None, size // per_group)
    else:
        yield seen.edit("divisor", None, per_group)


def _batch_norm(seen: Seen) -> Iterator[Edit]:
    value = seen.value("input")
    sizes = [seen.size(value, axis) for axis in range(2, len(value.shape))]
    if seen.argument("training") and sizes != list(value.shape[2:]):
        yield seen.edit("divisor", None, math.prod(value.shape[2:]))


def _attention(seen: Seen) -> Iterator[Edit]:
    query = seen.value("query")
    last = len(query.shape) - 1
    if seen.argument("scale") is None and seen.size(query, last) != query.shape[last]:
        yield seen.edit("scale", None, 1 / math.sqrt(query.shape[last]))


EDITORS: dict[str, Editor] = {
    "view": _sizes("size"),
    "unsafe_view": _sizes("size"),
    "reshape": _sizes("shape"),
    "expand": _sizes("size"),
    "unflatten": _unflatten,
    "slice": _slice,
    "narrow": _narrow,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes"), _parts),
    **dict.fromkeys(("unsafe_split", "unsafe_split_with_sizes"), _parts),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("layer_norm", "rms_norm"), _layer_norm),
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "scaled_dot_product_attention": _attention,
}
"""By operator; what is not listed has no constant that follows a width."""

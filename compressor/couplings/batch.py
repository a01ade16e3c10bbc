"""The batch as a variable of a captured graph, where the exporter made a constant of it.

A forward that asks for ``len(x)`` gets a plain number, and so does the graph. Captured once more
with a larger batch, the numbers that differ are those that depend on it.
"""

import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._pytree import tree_leaves, tree_map

SIZE_OF = torch.ops.aten.sym_size.int


def batch_of(arguments: Any) -> int:
    """Size of the first axis of the first tensor; 0 where there is none."""
    shapes = (leaf.shape for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor))
    return next((int(shape[0]) for shape in shapes if len(shape)), 0)


def is_fixed(program: ExportedProgram) -> bool:
    """Whether the first tensor that goes in has a batch of one size only."""
    place = _first_input(program)
    return place is not None and is_concrete_int(place.meta["val"].shape[0])


def one_more(arguments: Any) -> Any:
    """The arguments with one more image: the first once again."""
    batch = batch_of(arguments)

    def longer(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == batch:
            return torch.cat([leaf, leaf[:1]])
        return leaf

    return tree_map(longer, arguments)


def free_batch_(program: ExportedProgram, larger: ExportedProgram, batch: int) -> None:
    """Make every number in ``program`` that follows the batch follow it in the graph as well.

    Args:
        program: Captured with ``batch`` images.
        larger: Captured with one more; where it is another graph, ``program`` stays as it is.
        batch: Number of images.
    """
    nodes, others = list(program.graph.nodes), list(larger.graph.nodes)
    if [(n.name, n.target) for n in nodes] != [(n.name, n.target) for n in others]:
        return
    first = _first_input(program)
    assert first is not None
    last = [node for node in nodes if node.op == "placeholder"][-1]
    with program.graph.inserting_after(last):
        size = _number(program.graph, SIZE_OF, (first, 0), batch)
    for node, other in zip(nodes, others, strict=True):
        if node.op == "call_function":
            with program.graph.inserting_before(node):
                node.args = _follow(node.args, other.args, size)
                node.kwargs = _follow(node.kwargs, other.kwargs, size)
    if not size.users:
        program.graph.erase_node(size)


def _first_input(program: ExportedProgram) -> fx.Node | None:
    names = set(program.graph_signature.user_inputs)
    places: list[fx.Node] = program.graph.find_nodes(op="placeholder")
    inputs = [(place, place.meta.get("val")) for place in places if place.name in names]
    found = (place for place, value in inputs if isinstance(value, Tensor) and value.dim())
    return next(found, None)


def _follow(here: Any, there: Any, size: fx.Node) -> Any:
    """``here``, with numbers that are larger in ``there`` written as multiple of the batch."""
    if isinstance(here, list | tuple):
        pairs = zip(here, there, strict=True)
        return type(here)([_follow(one, other, size) for one, other in pairs])
    if isinstance(here, dict):
        return {key: _follow(one, there[key], size) for key, one in here.items()}
    if type(here) is not int or here == there:
        return here
    batch, times = size.meta["val"], there - here
    graph, left = size.graph, here - times * batch
    found = size if times == 1 else _number(graph, operator.mul, (size, times), times * batch)
    return found if left == 0 else _number(graph, operator.add, (found, left), here)


def _number(graph: fx.Graph, target: Any, args: tuple[Any, ...], value: int) -> fx.Node:
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node

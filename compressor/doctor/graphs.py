"""Which nodes of the exported graph a node of the engine's own graph does the work of.

Engines fuse nodes, rename tensors and put in nodes that change the layout. TensorRT says which
exported nodes a layer holds. ONNX Runtime does not; there a fused node makes a tensor of the
exported graph, or is named after one (``relu_nchwc``), or after one of the exported nodes
(``node_Conv_92_token_1``); the work between that tensor and the ones that other nodes make is its
own.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnx.helper import tensor_dtype_to_np_dtype

from compressor.onnx_graph import PRODUCT_OPS, makers_of, scope, source_of

BLOCKED_SUFFIX = "_nchwc"
"""ONNX Runtime's name for a node in its blocked layout: a tensor's name and this."""

COUNTED_SUFFIX = re.compile(r"_token_\d+$")
"""What ONNX Runtime puts behind a name to make it a new one."""

REFORMAT_OP = "Reformat"
"""TensorRT's name for a layer that only changes how a tensor lies in memory, or its type."""

LAYOUT_OPS = frozenset({"ReorderInput", "ReorderOutput", "Transpose", REFORMAT_OP})
"""Nodes that only change how a tensor lies in memory."""

STORED_THROUGH = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity"})
"""Between a stored weight and the layer that multiplies by it, nothing else stands."""

NETWORK = "(network)"
"""Name of what no module of its own does."""


@dataclass(frozen=True)
class Weight:
    """A weight as the exported file stores it: its name, its shape and its size."""

    name: str
    shape: tuple[int, ...]
    num_bytes: int


class Exported:
    """The exported graph, asked for who makes what."""

    def __init__(self, graph: Any) -> None:
        self.makers = makers_of(graph)
        self.named: dict[str, Any] = {node.name: node for node in graph.node if node.name}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}

    def weight(self, node: Any) -> Weight | None:
        """The stored weight that ``node`` multiplies by; None where it has none."""
        if node.op_type not in PRODUCT_OPS:
            return None
        # A matrix product may have its weight on either side.
        for name in (*node.input[1:2], *node.input[:1]):
            stored = source_of(name, self.makers, STORED_THROUGH)
            if stored in self._stored:
                shape = tuple(self._stored[stored].dims)
                item = tensor_dtype_to_np_dtype(self._stored[stored].data_type).itemsize
                return Weight(stored, shape, math.prod(shape) * item)
        return None

    def module(self, node: Any) -> str:
        """Name of the module that ``node`` belongs to: of its weight, or whose forward made it."""
        weight = self.weight(node)
        if weight is not None and "." in weight.name:
            return weight.name.rpartition(".")[0]
        return scope(node) or NETWORK

    def made_for(self, tensor: str, elsewhere: set[str]) -> list[Any]:
        """Nodes that lead to ``tensor`` from the tensors ``elsewhere``, last one first."""
        found: list[Any] = []
        seen, ahead = {tensor}, [tensor]
        while ahead:
            maker = self.makers.get(ahead.pop())
            if maker is None or any(maker is other for other in found):
                continue
            found.append(maker)
            fresh = set(maker.input) - seen - elsewhere
            seen |= fresh
            ahead.extend(sorted(fresh))
        return found


def replaced(exported: Exported, optimized: Any) -> dict[str, list[Any]]:
    """For each node of ONNX Runtime's graph, by name, the exported nodes whose work it does.

    Nodes that change the layout, and others that the engine put in, do the work of none.
    """
    made = {node.name: made_tensor(exported, node) for node in optimized.node}
    elsewhere = {tensor for tensor in made.values() if tensor is not None}
    return {
        node.name: []
        if node.op_type in LAYOUT_OPS or made[node.name] is None
        else exported.made_for(str(made[node.name]), elsewhere - {str(made[node.name])})
        for node in optimized.node
    }


def made_tensor(exported: Exported, node: Any) -> str | None:
    """The tensor of the exported graph that a node of the engine's graph makes."""
    named_after = node.name.removesuffix(BLOCKED_SUFFIX)
    if node.name != named_after and named_after in exported.makers:
        return str(named_after)
    if made := next((name for name in node.output if name in exported.makers), None):
        return str(made)
    origin = exported.named.get(COUNTED_SUFFIX.sub("", node.name))
    return None if origin is None else str(origin.output[0])


def owners(
    exported: Exported, nodes: Iterable[Any], work: Mapping[str, list[Any]]
) -> dict[str, str]:
    """For each node of the engine's graph, by name, the module whose work it does.

    A node that changes the layout belongs to the module whose result it changes; one at the very
    front to the module that reads it.

    Args:
        exported: The graph that the modules are named in.
        nodes: Of the engine's graph; of each ``name``, ``input`` and ``output`` are read.
        work: For each of them, by name, the exported nodes whose work it does.
    """
    known = {
        name: exported.module(main_node(exported, done)) for name, done in work.items() if done
    }
    nodes = list(nodes)
    makers = {tensor: node for node in nodes for tensor in node.output}
    readers = {tensor: node for node in nodes for tensor in node.input}
    found = dict(known)
    for node in nodes:
        if node.name not in found:
            chain = (*_along(node, makers, "input"), *_along(node, readers, "output"))
            found[node.name] = next((known[n.name] for n in chain if n.name in known), NETWORK)
    return found


def main_node(exported: Exported, nodes: list[Any]) -> Any:
    """The node that gives fused ones their name: one with a weight, else the last to run."""
    return next((node for node in nodes if exported.weight(node) is not None), nodes[0])


def _along(node: Any, neighbours: Mapping[str, Any], side: str) -> Iterator[Any]:
    """Nodes one after the other from ``node`` on, by the first tensor of that side."""
    for _step in range(len(neighbours)):
        tensors = getattr(node, side)
        following = neighbours.get(tensors[0]) if tensors else None
        if following is None:
            return
        node = following
        yield node

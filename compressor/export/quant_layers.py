"""Layers of an ONNX graph, as groups of nodes that are converted together or not at all."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from compressor.onnx_graph import PRODUCT_OPS

LAYERS = PRODUCT_OPS
"""Operators with which a new layer begins; what follows up to the next one belongs to it."""

Layers = Mapping[str, tuple[str, ...]]
"""Names of the nodes of each layer, in the order of the graph."""


def layers_of(graph: Any) -> Layers:
    """All nodes of ``graph`` in layers, named after the module whose weight they multiply with.

    A node that comes before the first layer belongs to it. Two layers that share a weight, or have
    none of their own, are told apart by the names of their nodes.
    """
    stored = {tensor.name for tensor in graph.initializer}
    heads = [node for node in graph.node if node.op_type in LAYERS]
    paths = Counter(_module(node, stored) for node in heads)
    layers: dict[str, list[str]] = {}
    waiting: list[str] = []
    name = None
    for node in graph.node:
        if node.op_type in LAYERS:
            module = _module(node, stored)
            name = module if paths[module] == 1 else f"{module} ({node.name})"
            layers[name] = waiting
            waiting = []
        (waiting if name is None else layers[name]).append(node.name)
    return {layer: tuple(nodes) for layer, nodes in layers.items()}


def nodes_of(layers: Layers, kept: frozenset[str]) -> list[str]:
    """Names of all nodes of the layers in ``kept``, in the order of the graph."""
    return [node for layer, nodes in layers.items() if layer in kept for node in nodes]


def _module(node: Any, stored: set[str]) -> str:
    """Path of the module whose weight ``node`` takes; the node's name where it takes none."""
    weights = [name for name in node.input[:2] if name in stored]
    return str(weights[0]).removesuffix(".weight") if weights else str(node.name)


def name_nodes_(graph: Any) -> None:
    """Give every node of ``graph`` a name of its own: the converters know nodes by name."""
    taken: set[str] = set()
    for place, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{place}"
        taken.add(node.name)

"""Residual branches taken out of a captured network as blocks."""

from collections.abc import Sequence

import torch
from torch import fx

from compressor.couplings.branch import Branch
from compressor.couplings.coupling import named_tensors
from compressor.errors import StripError
from compressor.strip.dead import dead_without, is_shared, is_written, writes
from compressor.strip.graph import CapturedNetwork


def remove_branches_(network: CapturedNetwork, branches: Sequence[Branch]) -> None:
    """Take ``branches`` out of ``network``, in place; a branch inside another goes with it.

    Raises:
        StripError: The graph is another one than the branches were found in.
    """
    nodes = {node.name: node for node in network.graph.nodes}
    gone: set[str] = set()
    for branch in branches:
        node = nodes.get(branch.node)
        if node is None or str(node.target) != branch.operator:
            raise StripError(
                f"{branch.name}: the branch ends in {branch.node} ({branch.operator}), which the "
                "captured graph lacks. Use the network that the branch was found in."
            )
        if branch.node not in gone:
            gone |= _remove(node, branch.operand)
    _drop_unread(network)


def operands_of(node: fx.Node) -> tuple[fx.Node, ...]:
    """What an addition adds, as far as it is computed."""
    return tuple(operand for operand in node.args[:2] if isinstance(operand, fx.Node))


def _drop_unread(network: CapturedNetwork) -> None:
    """Recompile ``network`` and take from it the tensors that its graph no longer reads."""
    network.recompile()
    network.delete_all_unused_submodules()
    read = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for name in [name for name in named_tensors(network) if name not in read]:
        owner, _, attribute = name.rpartition(".")
        delattr(network.get_submodule(owner), attribute)


def _remove(node: fx.Node, operand: int) -> set[str]:
    """Put the other operand in the place of an addition; the names of all that went."""
    operands, graph = operands_of(node), node.graph
    skip, useless = operands[1 - operand], [node, *dead_without(node, operands[operand])]
    into_skip = writes(node) and operand == 1
    if is_written(node) and not into_skip and is_shared(skip, set(useless)):
        # The sum had memory of its own for what is written into it later.
        with graph.inserting_before(node):
            skip = graph.call_function(torch.ops.aten.clone.default, (skip,))
    node.replace_all_uses_with(skip)
    names = {other.name for other in useless}
    for other in useless:
        graph.erase_node(other)
    return names

"""What a captured graph no longer needs, with an eye on operators that write in place."""

from collections.abc import Set

from torch import fx

from compressor.couplings.call import operator_name


def dead_without(node: fx.Node, operand: fx.Node) -> list[fx.Node]:
    """What is computed for nothing once ``node`` no longer reads ``operand``, the last first.

    An operator that writes into what others still read is not among it.
    """
    dead: dict[fx.Node, None] = {}
    for earlier in _before(node):
        read = set(earlier.users) - dead.keys()
        if earlier is operand:
            read -= {node}
        if not read and earlier.users and not _is_felt(earlier, dead):
            dead[earlier] = None
    return list(dead)


def _before(node: fx.Node) -> list[fx.Node]:
    nodes = list(node.graph.nodes)
    before = nodes[: nodes.index(node)]
    return [other for other in reversed(before) if other.op in ("call_function", "get_attr")]


def _is_felt(node: fx.Node, dead: dict[fx.Node, None]) -> bool:
    """Whether ``node`` writes into memory that something alive looks at."""
    if not writes(node):
        return False
    below, memory = node, _same_memory(node)
    while memory is not None:
        others = set(memory.users) - dead.keys() - {below}
        if others or memory.op != "call_function":
            return True
        below, memory = memory, _same_memory(memory)
    return False


def is_shared(node: fx.Node, without: Set[fx.Node]) -> bool:
    """Whether the memory of ``node`` is looked at by anything, or belongs to the caller.

    Args:
        node: A value.
        without: Readers that do not count.
    """
    below, memory = node, node
    readers = set(node.users)
    while (deeper := _same_memory(memory)) is not None:
        below, memory = memory, deeper
        readers |= set(memory.users) - {below}
    return memory.op != "call_function" or bool(readers - without)


def is_written(node: fx.Node) -> bool:
    """Whether an operator writes into the memory of ``node`` after it is computed."""
    return any(
        _same_memory(user) is node and (writes(user) or is_written(user)) for user in node.users
    )


def writes(node: fx.Node) -> bool:
    """Whether ``node`` is an operator that writes into its first operand."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _same_memory(node: fx.Node) -> fx.Node | None:
    """The operand whose memory the result of ``node`` lies in; None where it has its own."""
    if node.op != "call_function" or not node.all_input_nodes:
        return None
    schema = getattr(node.target, "_schema", None)
    returns = schema.returns if schema is not None else ()
    lies_there = any(result.alias_info is not None for result in returns)
    if lies_there or operator_name(node.target) in MAY_KEEP:
        return node.all_input_nodes[0]
    return None


MAY_KEEP = frozenset({"getitem", "dropout", "feature_dropout", "alpha_dropout", "to", "contiguous"})
"""Operators whose result may be their operand itself, though no schema says so."""

"""Which values of a captured graph are exactly zero once some parameters are.

For each operator: what has to be zero for its result to be. Finite values are taken for granted, as
they are by masks: zero times infinity is none.
"""

from collections.abc import Callable, Iterable, Sequence, Set

from torch import fx

from compressor.couplings.call import argument, operator_name
from compressor.couplings.elementwise import ZERO_AT_ZERO
from compressor.couplings.movement import MOVES, SAME

Clauses = Sequence[Sequence[fx.Node]]
"""The result is zero where in each clause any of the operands is."""


def zero_makers(nodes: Iterable[fx.Node], parameters: Set[str]) -> dict[fx.Node, frozenset[str]]:
    """For each value that some parameters can make zero the fewest that do, by their names.

    Args:
        nodes: A part of a graph, in its order; nothing outside it may be changed.
        parameters: Names of all parameters of the network.
    """
    makers: dict[fx.Node, frozenset[str]] = {}
    for node in nodes:
        if node.op == "get_attr":
            if node.target in parameters:
                makers[node] = frozenset({str(node.target)})
            continue
        choices = [
            [makers[operand] for operand in clause if operand in makers]
            for clause in clauses_of(node) or [()]
        ]
        if all(choices):
            makers[node] = frozenset[str]().union(*(min(choice, key=len) for choice in choices))
    return makers


def clauses_of(node: fx.Node) -> Clauses | None:
    """What has to be zero for the result of ``node`` to be; None where nothing is known."""
    if node.op != "call_function":
        return None
    name = operator_name(node.target)
    if name in _THROUGH or name.startswith(_POOLS):
        return [node.all_input_nodes[:1]]
    rule = _RULES.get(name)
    return rule(node) if rule is not None and hasattr(node.target, "_schema") else None


def _nodes(node: fx.Node, *names: str) -> list[fx.Node]:
    found = (argument(node, name) for name in names)
    return [operand for operand in found if isinstance(operand, fx.Node)]


def _all(node: fx.Node) -> Clauses | None:
    return [[operand] for operand in node.all_input_nodes]


def _any(node: fx.Node) -> Clauses | None:
    return [node.all_input_nodes]


def _sum(node: fx.Node) -> Clauses | None:
    numbers = [a for a in node.args[:2] if isinstance(a, int | float)]
    return None if any(numbers) else _all(node)


def _quotient(node: fx.Node) -> Clauses | None:
    by_number = isinstance(node.args[1], int | float)
    return [_nodes(node, "self")] if by_number else None


def _between(node: fx.Node) -> Clauses | None:
    low = [argument(node, name) for name in ("min", "min_val")]
    high = [argument(node, name) for name in ("max", "max_val")]
    numbers = [bound for bound in low + high if bound is not None]
    if not all(isinstance(bound, int | float) for bound in numbers):
        return None
    keeps = all(b is None or b <= 0 for b in low) and all(b is None or b >= 0 for b in high)
    return [_nodes(node, "self")] if keeps else None


def _filled(node: fx.Node) -> Clauses | None:
    mode, value = argument(node, "mode"), argument(node, "value")
    plain = mode not in (None, "constant") or value in (None, 0)
    return [_nodes(node, "self")] if plain else None


def _layer(node: fx.Node) -> Clauses | None:
    return _with_bias(node, _nodes(node, "weight", "input"))


def _batch_norm(node: fx.Node) -> Clauses | None:
    # It subtracts a running mean, so an input of zeros leaves it as anything else.
    return _with_bias(node, _nodes(node, "weight"))


def _with_bias(node: fx.Node, product: Sequence[fx.Node]) -> Clauses:
    bias = _nodes(node, "bias")
    return [product, bias] if bias else [product]


def _addmm(node: fx.Node) -> Clauses | None:
    return [_nodes(node, "self"), _nodes(node, "mat1", "mat2")]


def _attention(node: fx.Node) -> Clauses | None:
    return [_nodes(node, "value")]


_THROUGH = ZERO_AT_ZERO | SAME | frozenset(MOVES) | {"getitem", "mean", "sum"}
_POOLS = ("avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool", "upsample_")
_CONVOLUTIONS = ("conv", "conv_transpose")

_RULES: dict[str, Callable[[fx.Node], Clauses | None]] = {
    **dict.fromkeys(("cat", "concat", "stack"), _all),
    **dict.fromkeys(("mul", "multiply", "matmul", "mm", "bmm", "einsum"), _any),
    **dict.fromkeys(("add", "sub", "subtract"), _sum),
    **dict.fromkeys(("div", "divide", "true_divide"), _quotient),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "hardtanh"), _between),
    **dict.fromkeys(("masked_fill", "pad", "constant_pad_nd"), _filled),
    **{f"{kind}{dims}d": _layer for kind in _CONVOLUTIONS for dims in (1, 2, 3)},
    **dict.fromkeys(("convolution", "linear"), _layer),
    **dict.fromkeys(("layer_norm", "group_norm", "rms_norm"), _layer),
    **dict.fromkeys(("batch_norm", "instance_norm"), _batch_norm),
    "addmm": _addmm,
    "scaled_dot_product_attention": _attention,
}
"""By operator; a result that is not listed is never known to be zero."""

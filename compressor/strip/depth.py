"""Residual branches that are zero, and their removal as blocks.

In ``x + f(x)`` the branch ``f`` may go where it gives exactly zero. That its inner units are gone
is not enough: the norm behind the last layer, or that layer's own bias, still adds the same shift
to all places. What makes a branch zero is found in the captured graph by asking of each operator
which of its operands have to be zero. A branch goes with all operators, parameters and buffers that
nothing else reads; the addition becomes its other operand, so the network is a graph from then on.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

import torch
from torch import fx, nn

from compressor.couplings.branch import Branch
from compressor.couplings.call import operator_name, shapes_of
from compressor.couplings.capture import Example
from compressor.couplings.coupling import (
    Couplings,
    tied_tensors,
    zero_branches_,
)
from compressor.couplings.sharing import sharing_copy
from compressor.couplings.template import number_type
from compressor.errors import StripError
from compressor.strip.blocks import operands_of, remove_branches_
from compressor.strip.compare import difference_and_spread, dtype_of, outputs_of
from compressor.strip.dead import dead_without
from compressor.strip.graph import CapturedNetwork, captured_network, example_like
from compressor.strip.reading import Reading
from compressor.strip.trial import drop_branches_that_fail
from compressor.strip.zeros import zero_makers


def with_branches(model: nn.Module, couplings: Couplings, example: Example) -> Couplings:
    """``couplings`` with the residual branches of ``model`` that may go, each tried by removing it.

    Args:
        model: The network; not touched.
        couplings: What index flow found in it, tried.
        example: Input batch of at least 2 images that differ.

    Raises:
        StripError: The couplings hold no captured graph.
        CouplingError: Branches go alone, but not together with single units.
    """
    tied = tied_tensors(model).keys()
    found = tuple(
        branch
        for branch in removable_branches(model, couplings)
        if branch.couplings and not tied & set(branch.tensors)
    )
    return drop_branches_that_fail(model, replace(couplings, branches=found), example)


def removable_branches(model: nn.Module, couplings: Couplings) -> tuple[Branch, ...]:
    """Residual branches of ``model`` that some of its parameters make exactly zero, in order.

    A branch that only parameters in use elsewhere would make zero is none: there they would be
    missed.

    Args:
        model: The network; not touched.
        couplings: What index flow found in it.

    Raises:
        StripError: The couplings hold no captured graph.
    """
    network = _graph_of(model, couplings)
    ours = {name for name, _ in model.named_parameters()} - tied_tensors(model).keys()
    found: list[Branch] = []
    for node in network.graph.nodes:
        for operand in _branch_operands(node):
            found += _branch_at(node, operand, ours, couplings)
    return tuple(_numbered(found))


def remove_branches(
    model: nn.Module, couplings: Couplings, branches: Sequence[Branch]
) -> CapturedNetwork:
    """``model`` as a graph without ``branches``; a branch inside another goes with it.

    Equal to ``model`` wherever ``branches`` are zero. Tensors that stay keep their names, and the
    couplings of the result are found as those of any network.

    Args:
        model: The network that the branches were found in; not touched.
        couplings: Those that they were found with.
        branches: What is removed.

    Raises:
        StripError: The graph is another one than the branches were found in.
    """
    network = _graph_of(model, couplings)
    remove_branches_(network, branches)
    return network


@torch.no_grad()
def compare_without(
    model: nn.Module, couplings: Couplings, branches: Sequence[Branch], batches: Sequence[Example]
) -> tuple[float, float]:
    """As ``compare``, with ``branches`` zero on one side and removed on the other."""
    dtype = dtype_of(batches[0])
    # The exporter writes types into its graph, so it has to see those of the run.
    original = sharing_copy(model).to(dtype)
    slim = Reading(remove_branches(original, couplings, branches), dtype)
    zero = sharing_copy(model)
    zero_branches_(zero, branches)
    return difference_and_spread(
        outputs_of(Reading(zero, dtype), batches), outputs_of(slim, batches)
    )


def _graph_of(model: nn.Module, couplings: Couplings) -> CapturedNetwork:
    if couplings.program is None:
        raise StripError(
            "These couplings hold no captured graph, in which branches are found. "
            "Use the engine index-flow."
        )
    program = couplings.program
    example = example_like(program.inputs, number_type(model))
    network = captured_network(model, example, (), program.templates)
    assert isinstance(network, CapturedNetwork)
    return network


def _branch_operands(node: fx.Node) -> Iterator[int]:
    """Which of the two operands of an addition is computed from the other, at their full shape."""
    if node.op != "call_function" or operator_name(node.target) != "add":
        return
    operands = operands_of(node)
    if len(operands) != 2:
        return
    for place, (branch, other) in enumerate((operands, operands[::-1])):
        shapes = {shapes_of(value) for value in (node, branch, other)}
        if len(shapes) == 1 and other in _ancestors(branch):
            yield place


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - found
        found |= new
        waiting += new
    return found


def _branch_at(
    node: fx.Node, operand: int, ours: Set[str], couplings: Couplings
) -> Iterator[Branch]:
    end = operands_of(node)[operand]
    nodes = dead_without(node, end)[::-1]
    last = zero_makers(nodes, ours).get(end)
    if last is None:
        return
    names = {str(other.target) for other in nodes if other.op == "get_attr"}
    inside = [c for c in couplings.free if {m.tensor for m in c.members} <= names]
    yield Branch(
        name=(_modules_of(node) or ("the network",))[-1],
        node=node.name,
        operator=str(node.target),
        operand=operand,
        calls=tuple(other.name for other in nodes if other.op != "get_attr"),
        modules=_modules_only_in(nodes),
        couplings=tuple(coupling.name for coupling in inside),
        tensors=tuple(sorted(names)),
        last=tuple(sorted(last)),
    )


def _modules_of(node: fx.Node) -> tuple[str, ...]:
    """Names of the modules whose forward made ``node``, the innermost last."""
    stack = node.meta.get("nn_module_stack") or {}
    return tuple(entry[0] for entry in stack.values() if entry[0])


def _modules_only_in(nodes: Sequence[fx.Node]) -> tuple[str, ...]:
    inside = set(nodes)
    calls = [node for node in nodes[0].graph.nodes if node.op == "call_function"]
    elsewhere = {name for node in calls if node not in inside for name in _modules_of(node)}
    here = (name for node in calls if node in inside for name in _modules_of(node))
    return tuple(dict.fromkeys(name for name in here if name not in elsewhere))


def _numbered(branches: Sequence[Branch]) -> Iterator[Branch]:
    """The branches under names of their own: a module may add more than once."""
    taken: dict[str, int] = {}
    for branch in branches:
        number = taken[branch.name] = taken.get(branch.name, 0) + 1
        yield branch if number == 1 else replace(branch, name=f"{branch.name}#{number}")

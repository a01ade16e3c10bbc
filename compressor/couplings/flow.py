"""Index flow: the coupling engine of our own, exact on any graph whose operators have a rule.

The network is captured as a graph. Each axis of each parameter gets integer labels; they travel
through the graph as arrays of the tensors' own shapes, so that operators that only move data are
applied to them by torch itself and no index arithmetic is written by hand. Operators that compute
have a short rule each (``rules.py``). Labels that must leave together are united; a unit is a class
of united labels.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from compressor.couplings.call import Call, Result, call_of, concrete, shapes_of
from compressor.couplings.coupling import Heads
from compressor.couplings.ledger import Ledger
from compressor.couplings.rules import RULES, refuse
from compressor.couplings.sheets import Sheet, Value, along_axis
from compressor.errors import CouplingError


@dataclass
class Flow:
    """Labels of every tensor of a captured network.

    Attributes:
        ledger: Unions, frozen labels, roles.
        values: For each node of the graph its value, or the values of its outputs.
    """

    ledger: Ledger = field(default_factory=Ledger)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    """Operators without a rule that labels reached, with the module that calls each."""


def flow(program: ExportedProgram, first_names: Mapping[str, str], heads: Heads = "whole") -> Flow:
    """Labels of every tensor of ``program``, with what the operators say about them.

    Args:
        program: A captured network.
        first_names: For every name of a tensor the one that couplings shall use. The exporter
            takes any of them for a shared tensor.
        heads: What may leave attention.
    """
    result = Flow(Ledger(heads=heads))
    tensors = _tensors(program, first_names)
    held: dict[str, fx.Node] = {}
    for node in program.graph.nodes:
        result.ledger.place = place_of(node)
        if node.op == "placeholder":
            name = tensors[node.name][0] or node.name
            # A tensor under several names comes in once for each, and is one tensor.
            known = result.values.get(held.setdefault(name, node))
            result.values[node] = known or _placeholder(result.ledger, node, tensors)
        elif node.op == "call_function":
            result.values[node] = _call(result, node)
        elif node.op == "get_attr":
            raise _inner_graph(node)
        elif node.op == "output":
            _freeze_outputs(result, node)
    return result


def _inner_graph(node: fx.Node) -> CouplingError:
    """The refusal of a part that the exporter keeps as a graph of its own: labels cannot enter."""
    user = next(iter(node.users), node)
    return CouplingError(
        f"{place_of(user)}: the forward pass has a part of its own there, {user.target}: control "
        "flow on values, autocast switched on, or enable_grad. Write it as plain tensor code."
    )


def _tensors(
    program: ExportedProgram, first_names: Mapping[str, str]
) -> dict[str, tuple[str, Tensor | None, InputKind]]:
    """For each placeholder the name and data of what the network holds; user inputs have none."""
    found, held = {}, {**program.state_dict, **program.constants}
    for spec in program.graph_signature.input_specs:
        name = spec.target or ""
        data = held.get(name)
        found[spec.arg.name] = (first_names.get(name, name), data, spec.kind)
    return found


def _placeholder(
    ledger: Ledger,
    node: fx.Node,
    tensors: Mapping[str, tuple[str, Tensor | None, InputKind]],
) -> Any:
    name, data, kind = tensors[node.name]
    shapes = shapes_of(node)
    if not shapes:
        return concrete(node.meta.get("val"))
    shape = shapes[0]
    if kind not in (InputKind.PARAMETER, InputKind.BUFFER) or not isinstance(data, Tensor):
        constant = data if isinstance(data, Tensor) and not data.is_floating_point() else None
        return Value(shape, (), constant)
    if not data.is_floating_point():
        return Value(shape, (), data)
    # A buffer is not trained and not masked: it is only known to leave with its unit.
    zero = kind is InputKind.PARAMETER
    sheets = tuple(
        Sheet(along_axis(ledger.own(name, axis, size), axis, shape), zero)
        for axis, size in enumerate(shape)
        if size > 1
    )
    return Value(shape, sheets)


def _call(result: Flow, node: fx.Node) -> Any:
    if node.target is operator.getitem:
        source, place = cast("tuple[fx.Node, int]", node.args)
        found = result.values[source]
        return found[place] if isinstance(found, tuple | list) else found
    if not shapes_of(node):
        found = node.meta.get("val")
        return [concrete(v) for v in found] if isinstance(found, list | tuple) else concrete(found)
    call = call_of(node, result.values)
    if call.name not in RULES and any(value.sheets for value in call.values):
        result.unknown.setdefault(call.name, result.ledger.place)
    answer = follow(result.ledger, call)
    # An operator that gives a list of one tensor is read by getitem all the same.
    is_list = isinstance(node.meta.get("val"), list | tuple)
    return (answer,) if is_list and isinstance(answer, Value) else answer


def follow(ledger: Ledger, call: Call) -> Result:
    """What an operator gives, after its rule."""
    answer = RULES.get(call.name, refuse)(ledger, call)
    if isinstance(answer, tuple):
        return tuple(_without_crossings(ledger, value) for value in answer)
    return _without_crossings(ledger, answer)


def _without_crossings(ledger: Ledger, value: Value) -> Value:
    """The value with sheets that change along different axes; others are frozen.

    Two sheets that change along one axis could claim the same element.
    """
    kept: list[Sheet] = []
    for sheet in value.sheets:
        if any(set(sheet.axes) & set(other.axes) for other in kept):
            ledger.freeze_sheet(sheet, "they share an axis with other channels")
        elif sheet.axes:
            kept.append(sheet)
        else:
            # One label for the whole tensor: nothing of it can go and leave a tensor.
            ledger.freeze_sheet(sheet, "the only one of its axis")
    return Value(value.shape, tuple(kept), value.constant)


def _freeze_outputs(result: Flow, node: fx.Node) -> None:
    for other in node.all_input_nodes:
        value = result.values[other]
        if isinstance(value, Value):
            for sheet in value.sheets:
                result.ledger.freeze(sheet.labels, "these channels are an output of the network")


def place_of(node: fx.Node) -> str:
    """Name of the module whose forward made ``node``, with the operator."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [entry[0] for entry in stack.values()]
    module = names[-1] if names else ""
    return f"{module or 'the forward pass'} ({node.name})"

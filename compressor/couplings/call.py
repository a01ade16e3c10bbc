"""One operator call of a captured graph, with its arguments by their names in the schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from compressor.couplings.sheets import Value

Result = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Call:
    """An operator with concrete arguments.

    Attributes:
        name: ``conv2d`` for ``aten.conv2d.default`` and for ``aten.conv2d_``.
        target: The operator itself.
        arguments: By schema name; tensors are ``Value``, symbolic sizes are those of the batch.
        shapes: Shape of each output.
    """

    name: str
    target: Any
    arguments: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def get(self, key: str) -> Any:
        """An argument, or None where the operator has none of that name."""
        return self.arguments.get(key)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.shapes[0]

    @property
    def values(self) -> list[Value]:
        """All tensor arguments, in order."""
        return [value for argument in self.arguments.values() for value in _values_in(argument)]

    def axis(self, key: str, dims: int) -> int:
        """An axis argument, counted from the front."""
        return int(self.arguments[key]) % max(dims, 1)


def _values_in(argument: Any) -> list[Value]:
    if isinstance(argument, Value):
        return [argument]
    if isinstance(argument, list | tuple):
        return [value for item in argument for value in _values_in(item)]
    return []


def constant_result(call: Call) -> Tensor | None:
    """What the operator gives, where all tensors it is given are constants; else None."""
    if any(value.constant is None for value in call.values):
        return None
    result = call.target(**{name: _data(each) for name, each in call.arguments.items()})
    return result if isinstance(result, Tensor) else None


def _data(argument: Any) -> Any:
    if isinstance(argument, Value):
        return argument.constant
    if isinstance(argument, list | tuple):
        return [_data(item) for item in argument]
    return argument


def call_of(node: fx.Node, known: Mapping[fx.Node, Any]) -> Call:
    """The call that ``node`` makes; ``known`` holds the results of the nodes before it."""
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), lambda other: known[other])
    named = dict(kwargs)
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        for parameter, value in zip(schema.arguments, args, strict=False):
            named[parameter.name] = value
        for parameter in schema.arguments:
            if parameter.has_default_value():
                named.setdefault(parameter.name, parameter.default_value)
    else:
        named |= {str(index): value for index, value in enumerate(args)}
    return Call(operator_name(node.target), node.target, named, shapes_of(node))


def argument(node: fx.Node, name: str) -> Any:
    """An argument of a call by its name in the schema; None where it has none of that name."""
    for position, parameter in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if parameter.name == name:
            if position < len(node.args):
                return node.args[position]
            default = parameter.default_value if parameter.has_default_value() else None
            return node.kwargs.get(name, default)
    return None


def operator_name(target: Any) -> str:
    """Name of an operator without namespace, overload and the mark of in-place ones."""
    packet = getattr(target, "overloadpacket", None)
    name: str = packet.__name__ if packet is not None else getattr(target, "__name__", str(target))
    stripped = name.strip("_") if name.startswith("_") else name.rstrip("_")
    return stripped or name


def concrete(value: Any) -> Any:
    """A size as an int: that of the captured batch where it is symbolic."""
    if isinstance(value, torch.SymInt):
        hint: Any = value.node.hint
        return int(hint)
    return value


def shapes_of(node: fx.Node) -> tuple[tuple[int, ...], ...]:
    """Shape of each tensor that ``node`` gives."""
    found = node.meta.get("val")
    leaves = found if isinstance(found, list | tuple) else [found]
    return tuple(
        tuple(concrete(size) for size in leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)
    )

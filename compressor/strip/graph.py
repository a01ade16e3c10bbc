"""A captured network as a module that can be cut: its graph with constants rewritten.

The way to strip a network whose own forward cannot be mended. The slim network then is the graph
of operators that the exporter recorded in eval mode, with the parameter names of the original.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from compressor.couplings.call import operator_name
from compressor.couplings.capture import Example, capture
from compressor.errors import StripError
from compressor.strip import norm_functions
from compressor.strip.edits import Edit

KEPT_NORMS: dict[str, Callable[..., Any]] = {
    "layer_norm": norm_functions.layer_norm,
    "rms_norm": norm_functions.rms_norm,
    "group_norm": norm_functions.group_norm,
}
"""What stands in the graph for a norm that keeps its divisor."""

MODES = {"batch_norm": "training", "dropout": "train"}
"""The argument of an operator that says whether it runs in training mode."""


class CapturedNetwork(fx.GraphModule):
    """A captured graph with the state dict of the network it was captured from.

    ``train()`` reaches batch norms and dropouts, which hold their mode as a constant. What eval
    mode leaves out of the graph altogether (stochastic depth, say) does not come back.
    """

    def train(self, mode: bool = True) -> "CapturedNetwork":
        """Switch batch norms and dropouts."""
        for node in self.graph.nodes:
            name = operator_name(node.target) if node.op == "call_function" else ""
            if name in MODES:
                _set(node, MODES[name], None, mode)
        self.recompile()
        super().train(mode)
        return self


def captured_network(model: nn.Module, example: Example, edits: Sequence[Edit]) -> nn.Module:
    """``model`` as a graph with ``edits`` made; its tensors are copies, not cut yet.

    Args:
        model: The network as it was captured for the edits; not touched.
        example: Input of the shape that it was captured with.
        edits: What ``edits_of`` found.

    Raises:
        StripError: The graph is another one than the edits were made for.
    """
    module = capture(model, example).module(check_guards=False)
    by_name = {node.name: node for node in module.graph.nodes}
    for edit in edits:
        node = by_name.get(edit.node)
        if node is None or str(node.target) != edit.operator:
            found = "nothing" if node is None else str(node.target)
            raise StripError(
                f"The plan edits {edit.node} ({edit.operator}), and the captured graph has {found} "
                "there. Strip again with this version of torch, or use the exported program."
            )
        if edit.argument != "divisor":
            _set(node, edit.argument, edit.place, edit.value)
    for edit in edits:
        if edit.argument == "divisor":
            _keep_divisor(by_name[edit.node], int(edit.value))
    network = CapturedNetwork(module, module.graph, type(model).__name__)
    network.graph.eliminate_dead_code()
    network.recompile()
    return network.eval()


def _position(node: fx.Node, argument: str) -> int:
    names = [parameter.name for parameter in node.target._schema.arguments]  # type: ignore[union-attr]
    return names.index(argument)


def _set(node: fx.Node, argument: str, place: int | None, value: Any) -> None:
    position = _position(node, argument)
    positional = position < len(node.args)
    old = node.args[position] if positional else node.kwargs.get(argument)
    if place is not None:
        assert isinstance(old, list | tuple)
        value = [*old[:place], value, *old[place + 1 :]]
    if positional:
        node.update_arg(position, value)
    else:
        node.update_kwarg(argument, value)


def _keep_divisor(node: fx.Node, divisor: int) -> None:
    parameters = node.target._schema.arguments  # type: ignore[union-attr]
    values: dict[str, Any] = {}
    for position, parameter in enumerate(parameters):
        default = parameter.default_value if parameter.has_default_value() else None
        given = node.args[position] if position < len(node.args) else None
        values[parameter.name] = (
            given if position < len(node.args) else node.kwargs.get(parameter.name, default)
        )
    name = operator_name(node.target)
    order: Mapping[str, tuple[str, ...]] = {
        "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
        "rms_norm": ("input", "normalized_shape", "weight", "eps"),
        "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    }
    node.args = (*(values[key] for key in order[name]), divisor)
    node.kwargs = {}
    replacement: Callable[..., Any] = KEPT_NORMS[name]
    node.target = replacement


def example_like(shapes: Sequence[Any], dtype: torch.dtype) -> Example:
    """Zeros of the given shapes: what a capture needs of an example."""
    tensors: tuple[Tensor, ...] = tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)
    return tensors[0] if len(tensors) == 1 else tensors

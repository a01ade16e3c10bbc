"""A captured network as a module that can be cut: its graph with constants rewritten.

The way to strip a network whose own forward cannot be mended. The slim network then is the graph
of operators that the exporter recorded in eval mode, with the parameter names of the original.
"""

import copy
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from compressor.couplings.call import argument, operator_name
from compressor.couplings.capture import Example, capture
from compressor.couplings.coupling import named_tensors
from compressor.couplings.template import hollow_graph, number_type, put_tensors_
from compressor.errors import StripError
from compressor.strip import norm_functions
from compressor.strip.edits import Edit

KEPT_NORMS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "layer_norm": (
        norm_functions.layer_norm,
        ("input", "normalized_shape", "weight", "bias", "eps"),
    ),
    "rms_norm": (norm_functions.rms_norm, ("input", "normalized_shape", "weight", "eps")),
    "group_norm": (norm_functions.group_norm, ("input", "num_groups", "weight", "bias", "eps")),
    "batch_norm": (norm_functions.own_statistics_norm, ("input", "weight", "bias", "eps")),
}
"""What stands in the graph for a norm that keeps its divisor, and what it takes over of it."""

MODES = {
    "batch_norm": "training",
    "instance_norm": "use_input_stats",
    **dict.fromkeys(
        ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), "train"
    ),
    "rrelu": "training",
}
"""The argument of an operator that says whether it runs in training mode."""


class CapturedNetwork(fx.GraphModule):
    """A captured graph with the state dict of the network it was captured from.

    ``train()`` reaches norms and dropouts, which hold their mode as a constant. What eval
    mode leaves out of the graph altogether (stochastic depth, say) does not come back.
    """

    def train(self, mode: bool = True) -> "CapturedNetwork":
        """Switch norms with running statistics, and dropouts."""
        for node in self.graph.nodes:
            name = operator_name(node.target) if node.op == "call_function" else ""
            if name in MODES and not _always_trains(node):
                _set(node, MODES[name], None, mode)
        self.recompile()
        super().train(mode)
        return self

    @torch.no_grad()
    def average_norms_(self, batches: Iterable[Tensor]) -> None:
        """Replace the statistics of all batch norms by plain averages over ``batches``."""
        norms = [
            node
            for node in self.graph.nodes
            if node.op == "call_function"
            and operator_name(node.target) == "batch_norm"
            and not _always_trains(node)
        ]
        mode, momenta = self.training, [argument(node, "momentum") for node in norms]
        for number, batch in enumerate(batches, start=1) if norms else ():
            for node in norms:
                _set(node, "training", None, value=True)
                _set(node, "momentum", None, 1 / number)
            self.recompile()
            self(batch)
        for node, momentum in zip(norms, momenta, strict=True):
            _set(node, "momentum", None, momentum)
        self.train(mode)


def captured_network(
    model: nn.Module,
    example: Example,
    edits: Sequence[Edit],
    templates: MutableMapping[torch.dtype, fx.GraphModule] | None = None,
) -> nn.Module:
    """``model`` as a graph with ``edits`` made; it shares its parameters, which are not cut yet.

    Args:
        model: The network as it was captured for the edits; not touched.
        example: Input of the shape that it was captured with.
        edits: What ``edits_of`` found.
        templates: Graphs of this very network that were captured before, by its type of numbers;
            a new one is added. To capture takes seconds.

    Raises:
        StripError: The graph is another one than the edits were made for.
    """
    module = _captured(model, example, {} if templates is None else templates)
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
    _take_over_(network, model)
    return network.eval()


def _captured(
    model: nn.Module, example: Example, templates: MutableMapping[torch.dtype, fx.GraphModule]
) -> fx.GraphModule:
    """The graph with the tensors of ``model``: parameters share their storage, buffers do not."""
    dtype = number_type(model)
    if dtype not in templates:
        templates[dtype] = hollow_graph(capture(model, example), model)
    module = copy.deepcopy(templates[dtype])
    own = {
        name: tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.clone()
        for name, tensor in named_tensors(model).items()
    }
    put_tensors_(module, own)
    return module


def _take_over_(network: nn.Module, model: nn.Module) -> None:
    """Train and save no tensors but those that ``model`` does; the exporter takes all."""
    trained = {name: p.requires_grad for name, p in model.named_parameters(remove_duplicate=False)}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(trained[name])
    saved = model.state_dict().keys()
    for prefix, owner in network.named_modules():
        for attribute in owner._buffers:
            if (f"{prefix}.{attribute}" if prefix else attribute) not in saved:
                owner._non_persistent_buffers_set.add(attribute)


def _always_trains(node: fx.Node) -> bool:
    """Whether a norm has no running statistics, so that it takes those of the batch in any mode."""
    has_statistics = operator_name(node.target) in ("batch_norm", "instance_norm")
    return has_statistics and argument(node, "running_mean") is None


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
    function, names = KEPT_NORMS[operator_name(node.target)]
    node.args = (*(argument(node, name) for name in names), divisor)
    node.kwargs = {}
    node.target = function


def example_like(inputs: Any, dtype: torch.dtype) -> Any:
    """Zeros in place of the tensors of an example: what a capture needs of one.

    Args:
        inputs: What ``described`` said of the example.
        dtype: Type of its floating-point tensors.
    """
    if "shape" in inputs:
        own: torch.dtype = getattr(torch, inputs["dtype"])
        return torch.zeros(inputs["shape"], dtype=dtype if own.is_floating_point else own)
    ((kind, content),) = inputs.items()
    if kind == "value":
        return content
    if kind == "dict":
        return {key: example_like(item, dtype) for key, item in content}
    items = [example_like(item, dtype) for item in content]
    return tuple(items) if kind == "tuple" else items

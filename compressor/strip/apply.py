"""StripPlan + a network as it was built -> the slim network; the only way to make one."""

from collections import defaultdict

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import named_tensors
from compressor.couplings.sharing import sharing_copy
from compressor.couplings.template import number_type
from compressor.errors import StripError
from compressor.strip.blocks import remove_branches_
from compressor.strip.graph import CapturedNetwork, captured_network, example_like
from compressor.strip.layers import attributes_of
from compressor.strip.norms import kept
from compressor.strip.plan import Cut, StripPlan


def apply(plan: StripPlan, model: nn.Module) -> nn.Module:
    """A copy of ``model`` without the slices that ``plan`` leaves out; ``model`` is not touched.

    Raises:
        StripError: The plan was made for a network of other shapes, or another captured graph.
    """
    if plan.form == "graph":
        example = example_like(plan.inputs, number_type(model))
        templates = None if plan.program is None else plan.program.templates
        slim = captured_network(model, example, plan.edits, templates)
        _cut_tensors(slim, plan)
        if plan.branches:
            assert isinstance(slim, CapturedNetwork)
            remove_branches_(slim, plan.branches)
        _own_parameters(slim, model)
        return slim
    # What is cut is new anyway: only the rest has to be copied.
    slim = sharing_copy(model)
    _cut_tensors(slim, plan)
    _own_parameters(slim, model)
    modules = dict(slim.named_modules())
    for name in {cut.tensor.rpartition(".")[0] for cut in plan.cuts}:
        for attribute, value in attributes_of(modules[name]).items():
            setattr(modules[name], attribute, value)
    for mended in plan.attributes:
        setattr(modules[mended.module], mended.name, mended.value)
    for name, divisor in plan.divisors.items():
        slim = _with_module(slim, name, kept(modules[name], divisor))
    return slim


def _own_parameters(slim: nn.Module, model: nn.Module) -> None:
    """Give ``slim`` parameters of its own where it still has storage in common with ``model``."""
    shared = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    for parameter in slim.parameters():
        if parameter.untyped_storage().data_ptr() in shared:
            parameter.data = parameter.detach().clone()


def _with_module(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    if not name:
        return module
    old = model.get_submodule(name)
    # A layer under two names is one layer.
    for owner in model.modules():
        for attribute, child in owner._modules.items():
            if child is old:
                setattr(owner, attribute, module)
    return model


def _cut_tensors(slim: nn.Module, plan: StripPlan) -> None:
    tensors = named_tensors(slim)
    holders = _holders(slim)
    by_tensor: dict[str, list[Cut]] = defaultdict(list)
    for cut in plan.cuts:
        by_tensor[cut.tensor].append(cut)
    for name, cuts in by_tensor.items():
        if name not in tensors:
            raise StripError(
                f"{name}: the plan cuts a tensor that the network does not have. "
                "Apply the plan to the network it was made for."
            )
        old, value = tensors[name], _cut(name, tensors[name], cuts)
        new = value
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(value, requires_grad=old.requires_grad)
        for owner, attribute in holders[id(old)]:
            setattr(owner, attribute, new)


def _cut(name: str, tensor: Tensor, cuts: list[Cut]) -> Tensor:
    result = tensor.detach()
    for cut in cuts:
        size = tensor.shape[cut.axis] if 0 <= cut.axis < tensor.dim() else "no such axis"
        if size != cut.size:
            raise StripError(
                f"{name}: the plan is for {cut.size} entries on axis {cut.axis}, the network has "
                f"{size}. Apply the plan to the network it was made for."
            )
        result = result.index_select(cut.axis, torch.tensor(cut.keep, device=tensor.device))
    return result.contiguous()


def _holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """By id of a tensor, the modules and attributes of ``model`` that hold it: layers may share it.

    The ids mean something for as long as somebody holds the tensors.
    """
    found: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for owner in model.modules():
        for held in (owner._parameters, owner._buffers):
            for attribute, tensor in held.items():
                found[id(tensor)].append((owner, attribute))
    return found

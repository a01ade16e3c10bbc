"""StripPlan + a network as it was built -> the slim network; the only way to make one."""

import copy
from collections import defaultdict

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import named_tensors
from compressor.errors import StripError
from compressor.strip.layers import ATTRIBUTES
from compressor.strip.plan import Cut, StripPlan


def apply(plan: StripPlan, model: nn.Module) -> nn.Module:
    """A copy of ``model`` without the slices that ``plan`` leaves out; ``model`` is not touched.

    Raises:
        StripError: The plan was made for a network of other shapes, or a layer type cannot be cut.
    """
    slim = copy.deepcopy(model)
    tensors = named_tensors(slim)
    by_tensor: dict[str, list[Cut]] = defaultdict(list)
    for cut in plan.cuts:
        by_tensor[cut.tensor].append(cut)
    for name, cuts in by_tensor.items():
        if name not in tensors:
            raise StripError(
                f"{name}: the plan cuts a tensor that the network does not have. "
                "Apply the plan to the network it was made for."
            )
        _replace(slim, name, _cut(name, tensors[name], cuts))
    for owner in {name.rpartition(".")[0] for name in by_tensor}:
        _set_attributes(slim, owner)
    return slim


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


def _replace(model: nn.Module, name: str, value: Tensor) -> None:
    owner_name, _, attribute = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    old = getattr(owner, attribute)
    if isinstance(old, nn.Parameter):
        setattr(owner, attribute, nn.Parameter(value, requires_grad=old.requires_grad))
    else:
        setattr(owner, attribute, value)


def _set_attributes(model: nn.Module, name: str) -> None:
    layer = model.get_submodule(name)
    rule = ATTRIBUTES.get(type(layer))
    if rule is None:
        raise StripError(
            f"{name} is a {type(layer).__name__}, which cannot be stripped yet. "
            "Add a row to strip/layers.py."
        )
    for attribute, value in rule(layer).items():
        setattr(layer, attribute, value)

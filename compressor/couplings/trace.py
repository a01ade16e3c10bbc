"""A model and an example input -> its couplings, through torch-pruning's dependency graph.

The only file that knows torch-pruning. What it must guard against, since the library does not:
tracing leaves a model in eval mode and can edit it (so a copy is traced), it needs gradients on
every parameter, it may not come back (so it has a time budget), and it fails with errors of its own
kind (so each becomes one line that names the part of the network where it happened).
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.axes import LayerAxes, Slot, axes_of, is_depthwise
from compressor.couplings.check import check_couplings, clashes, fault_of
from compressor.couplings.coupling import (
    Coupling,
    Couplings,
    FrozenCoupling,
    Member,
    named_tensors,
    tied_tensors,
)
from compressor.couplings.forward import Place, run_forward, traceable_copy
from compressor.errors import CouplingError
from compressor.time_limit import TimeOver, within

TRACE_SECONDS = 60.0
"""Default time budget; every network that can be traced took under a tenth of it when measured."""


def trace(model: nn.Module, example: Tensor, *, seconds: float = TRACE_SECONDS) -> Couplings:
    """Couplings of ``model`` as it runs in eval mode, checked; the model itself is not touched.

    A layer that ``example`` does not pass is in no coupling. What is found but cannot be cut is
    frozen, with the reason.

    Args:
        model: Any module that takes one tensor and returns one.
        example: Input batch, shape ``(images, ...)``.
        seconds: Time budget.

    Raises:
        CouplingError: The network cannot be run or traced, or not in time, or its forward depends
            on the values of tensors, so that one trace does not tell about other images.
    """
    place = Place()
    try:
        return within(seconds, lambda: _trace(model, example, place))
    except TimeOver as over:
        raise CouplingError(
            f"Tracing the network took more than {seconds:g} s and was stopped at {place.name}. "
            "Simplify that module, or give tracing more time."
        ) from over
    except CouplingError:
        raise
    except Exception as failure:
        raise _as_coupling_error(failure, place) from failure


@dataclass
class _Group:
    """Slices found from one root layer: per (module, output or input side) positions and units."""

    root: str
    num_units: int
    parts: list[tuple[str, bool, list[int], list[int]]] = field(default_factory=list)
    reason: str | None = None


def _trace(model: nn.Module, example: Tensor, place: Place) -> Couplings:
    twin = traceable_copy(model, place)
    tied = tied_tensors(twin)
    free: list[Coupling] = []
    frozen: list[FrozenCoupling] = []
    for group in _groups(twin, example, place):
        place.name = group.root
        coupling = _coupling(twin, group, tied)
        if isinstance(coupling, Coupling):
            free.append(coupling)
        else:
            frozen.append(coupling)
    couplings = Couplings(tuple(free), tuple(frozen))
    couplings = couplings.freeze(clashes(couplings))
    check_couplings(couplings, twin)
    return couplings


def _groups(model: nn.Module, example: Tensor, place: Place) -> list[_Group]:
    import torch_pruning

    names = {module: name for name, module in model.named_modules()}
    graph = torch_pruning.DependencyGraph()
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # the library's, on what it does with bare parameters
        # Without a forward_fn the library unpacks the batch, and may run the network on one image.
        forward = partial(run_forward, place)
        graph.build_dependency(model, example, forward_fn=forward, verbose=False)
        # In the model's own order, so that a coupling is named after its first layer.
        roots = [
            module
            for module in names
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
            and module in graph.module2node
        ]
        groups: list[_Group] = []
        seen: set[str] = set()
        for module in roots:
            place.name = names[module]
            if place.name not in seen:
                groups.append(_group(graph, module, names))
                seen.update(name for name, is_output, _, _ in groups[-1].parts if is_output)
                seen.add(place.name)
    return groups


def _group(graph: Any, root: nn.Module, names: dict[nn.Module, str]) -> _Group:
    num_units = graph.get_out_channels(root)
    pruner = graph.get_pruner_of_module(root)
    found = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(num_units)))
    group = _Group(names[root], num_units)
    for item in found.items:
        node, positions = item.dep.target, item.idxs
        is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
        if is_output and not node.outputs:
            group.reason = "these channels are an output of the network"
        if isinstance(node.module, nn.Parameter):
            name = graph._param_to_name[node.module]
            group.reason = f"a bare parameter ({name}) runs along these channels"
        elif node.module in names:
            group.parts.append((names[node.module], is_output, positions, item.root_idxs))
    return group


def _coupling(
    model: nn.Module, group: _Group, tied: Mapping[str, str]
) -> Coupling | FrozenCoupling:
    reason = group.reason or _refusal(model, group)
    if reason is None:
        coupling = Coupling(group.root, group.num_units, tuple(_members(model, group)))
        shared = [member.tensor for member in coupling.members if member.tensor in tied]
        if shared:
            reason = f"{shared[0]} is the same tensor as {tied[shared[0]]}, which ties two layers"
        else:
            reason = fault_of(coupling, named_tensors(model))
    return coupling if reason is None else FrozenCoupling(group.root, group.num_units, reason)


def _refusal(model: nn.Module, group: _Group) -> str | None:
    """Why this group cannot be cut, or None."""
    for name, is_output, positions, units in group.parts:
        layer = model.get_submodule(name)
        axes = axes_of(layer)
        if axes is None:
            return f"{name} is a {type(layer).__name__}, which cannot be cut yet"
        if reason := axes.refuse(layer):
            return f"{name} is a {reason}, which cannot be cut yet"
        if is_output and len(positions) != len(set(units)):
            return f"{name} produces several channels for one unit"
        blocks = Counter(units)
        if len(blocks) != group.num_units or len(set(blocks.values())) != 1:
            return f"these {group.num_units} channels do not lie evenly in {name}"
    return None


def _members(model: nn.Module, group: _Group) -> list[Member]:
    members: dict[tuple[str, int], Member] = {}
    for name, is_output, positions, units in group.parts:
        layer = model.get_submodule(name)
        axes = axes_of(layer)
        assert axes is not None
        index = _index(positions, units, group.num_units)
        for slot in _slots(layer, axes, is_output):
            if getattr(layer, slot.attribute, None) is not None:
                tensor = f"{name}.{slot.attribute}" if name else slot.attribute
                members[tensor, slot.axis] = Member(tensor, slot.axis, index, slot.kind)
    return list(members.values())


def _slots(layer: nn.Module, axes: LayerAxes, is_output: bool) -> tuple[Slot, ...]:
    # Layers that pass channels through, norms and depthwise convolutions, have one side only.
    one_sided = not axes.inputs or is_depthwise(layer)
    return axes.outputs if is_output or one_sided else axes.inputs


def _index(positions: list[int], units: list[int], num_units: int) -> Tensor:
    blocks: list[list[int]] = [[] for _ in range(num_units)]
    for position, unit in zip(positions, units, strict=True):
        blocks[unit].append(position)
    return torch.tensor([sorted(block) for block in blocks])


def _as_coupling_error(failure: Exception, place: Place) -> CouplingError:
    first_line = (str(failure).strip().splitlines() or ["no message"])[0]
    return CouplingError(
        f"The network cannot be traced: {type(failure).__name__} at {place.name}: {first_line}. "
        "Check that it runs on its example input and that its forward is plain tensor code."
    )

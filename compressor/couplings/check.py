"""Validates couplings before anyone uses them: each claim against the tensors themselves."""

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, Couplings, Member, named_tensors
from compressor.errors import CouplingError


def check_couplings(couplings: Couplings, model: nn.Module) -> None:
    """Raise unless every coupling fits the model and no two of them claim the same slice.

    Checked: names are unique, and nothing is both frozen and free; each coupling is sound by
    itself (``fault_of``); no position is claimed by two of them (``clashes``).

    Raises:
        CouplingError: Names coupling, tensor and index.
    """
    names = [free.name for free in couplings.free] + [held.name for held in couplings.frozen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CouplingError(
            f"{twice[0]}: the coupling is listed twice, free or frozen. Trace the network again."
        )
    tensors = named_tensors(model)
    faults = {c.name: fault for c in couplings.free if (fault := fault_of(c, tensors))}
    for name, fault in (faults or clashes(couplings)).items():
        raise CouplingError(f"{name}: {fault}. Trace the network that is to be stripped.")


def fault_of(coupling: Coupling, tensors: Mapping[str, Tensor]) -> str | None:
    """Why a coupling cannot be right for a network with these ``tensors``, or None.

    A sound one has at least one unit, and a layer that produces it; all of its members are tensors
    of the network and have one block for each unit, so that the widths on both ends of an edge
    agree whatever is removed; each index lies inside its axis, and none stands there twice.
    """
    if coupling.num_units < 1:
        return "the coupling has no unit"
    if not coupling.of_kind("filter"):
        return "no layer produces the units of this coupling"
    faults = (_fault_of_member(coupling, member, tensors) for member in coupling.members)
    return next((fault for fault in faults if fault), None)


def _fault_of_member(
    coupling: Coupling, member: Member, tensors: Mapping[str, Tensor]
) -> str | None:
    name, axis, index = member.tensor, member.axis, member.index
    if name not in tensors:
        return f"its member {name} is not a tensor of the network"
    if index.dim() != 2 or index.shape[0] != coupling.num_units or index.shape[1] < 1:
        return f"{name} has an index of shape {tuple(index.shape)} for {coupling.num_units} units"
    if not 0 <= axis < tensors[name].dim():
        return f"{name} has {tensors[name].dim()} axes, and its member lies along axis {axis}"
    size = tensors[name].shape[axis]
    outside = index[(index < 0) | (index >= size)]
    if len(outside):
        return f"index {int(outside[0])} is outside axis {axis} of {name}, which has {size} entries"
    if len(set(index.flatten().tolist())) < index.numel():
        return f"two of its units claim the same position on axis {axis} of {name}"
    return None


def clashes(couplings: Couplings) -> dict[str, str]:
    """For each free coupling that claims a position which another one claims too, that other."""
    owners: dict[tuple[str, int, int], str] = {}
    reasons: dict[str, str] = defaultdict(str)
    for coupling in couplings.free:
        for member in coupling.members:
            for position in member.index.flatten().tolist():
                place = (member.tensor, member.axis, position)
                owner = owners.setdefault(place, coupling.name)
                if owner != coupling.name:
                    what = f"position {position} on axis {member.axis} of {member.tensor}"
                    reasons[owner] = f"{what} belongs to {coupling.name} as well"
                    reasons[coupling.name] = f"{what} belongs to {owner} as well"
    return dict(reasons)

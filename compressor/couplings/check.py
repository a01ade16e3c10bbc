"""Validates couplings before anyone uses them: each claim against the tensors themselves."""

from collections import defaultdict

from torch import Tensor, nn

from compressor.couplings.coupling import Coupling, Couplings, Member, named_tensors
from compressor.errors import CouplingError


def check_couplings(couplings: Couplings, model: nn.Module) -> None:
    """Raise unless every coupling fits the model and no two of them claim the same slice.

    Checked: at least one unit, produced by some layer; every tensor is there and every index inside
    its axis; each member has one block per unit, so that the widths on both ends of an edge agree
    whatever is removed; no position is claimed twice; nothing is both frozen and free.

    Raises:
        CouplingError: Names coupling, tensor and index.
    """
    tensors = named_tensors(model)
    claims: dict[tuple[str, int], list[tuple[Coupling, Member]]] = defaultdict(list)
    for coupling in couplings.free:
        _check_shape(coupling)
        for member in coupling.members:
            _check_member(coupling, member, tensors)
            claims[member.tensor, member.axis].append((coupling, member))
    for (tensor, axis), owners in claims.items():
        _check_claims(tensor, axis, owners)
    _check_frozen(couplings)


def _check_shape(coupling: Coupling) -> None:
    if coupling.num_units < 1:
        raise CouplingError(f"{coupling.name}: the coupling has no unit. Keep this layer out.")
    if not coupling.of_kind("filter"):
        raise CouplingError(
            f"{coupling.name}: no layer produces the units of this coupling. Keep this layer out."
        )


def _check_member(coupling: Coupling, member: Member, tensors: dict[str, Tensor]) -> None:
    if member.tensor not in tensors:
        raise CouplingError(
            f"{coupling.name}: its member {member.tensor} is not a tensor of the network. "
            "Trace the network that is to be stripped."
        )
    if member.index.dim() != 2 or member.index.shape[0] != coupling.num_units:
        raise CouplingError(
            f"{coupling.name}: {member.tensor} has an index of shape {tuple(member.index.shape)} "
            f"for {coupling.num_units} units. Trace the network again."
        )
    size = tensors[member.tensor].shape[member.axis]
    low, high = int(member.index.min()), int(member.index.max())
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise CouplingError(
            f"{coupling.name}: index {wrong} is outside axis {member.axis} of {member.tensor}, "
            f"which has {size} entries. Keep this layer out of stripping."
        )


def _check_claims(tensor: str, axis: int, owners: list[tuple[Coupling, Member]]) -> None:
    seen: dict[int, str] = {}
    for coupling, member in owners:
        for position in member.index.flatten().tolist():
            if position in seen:
                raise CouplingError(
                    f"Position {position} on axis {axis} of {tensor} belongs to both "
                    f"{seen[position]} and {coupling.name}. Keep these layers out of stripping."
                )
            seen[position] = coupling.name


def _check_frozen(couplings: Couplings) -> None:
    frozen = {coupling.name for coupling in couplings.frozen}
    for coupling in couplings.free:
        if coupling.name in frozen:
            raise CouplingError(
                f"{coupling.name}: the coupling is both frozen and free. Trace the network again."
            )

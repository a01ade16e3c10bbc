"""StripPlan: what is kept on each axis of each tensor, as plain data that can be saved as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.coupling import Couplings, check_fit, named_tensors
from compressor.errors import StripError
from compressor.structure import Structure

PLAN_VERSION = 1


@dataclass(frozen=True)
class Cut:
    """One axis of one tensor, and what stays of it.

    Attributes:
        tensor: Name of the parameter or buffer.
        axis: The axis.
        size: Its length before.
        keep: Positions that stay, ascending.
    """

    tensor: str
    axis: int
    size: int
    keep: tuple[int, ...]


@dataclass(frozen=True)
class Width:
    """Units of a coupling before and after."""

    coupling: str
    units: int
    kept: int


@dataclass(frozen=True)
class StripPlan:
    """All cuts that turn a network into the slim one; replayed on a freshly built network."""

    cuts: tuple[Cut, ...]
    widths: tuple[Width, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "version": PLAN_VERSION,
            "cuts": [
                {"tensor": cut.tensor, "axis": cut.axis, "size": cut.size, "keep": list(cut.keep)}
                for cut in self.cuts
            ],
            "widths": [
                {"coupling": width.coupling, "units": width.units, "kept": width.kept}
                for width in self.widths
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StripPlan":
        """Read what ``to_json`` wrote.

        Raises:
            StripError: The plan is of another version or lacks a part.
        """
        version = value.get("version")
        if version != PLAN_VERSION:
            raise StripError(
                f"The plan has version {version!r}, this release reads {PLAN_VERSION}. "
                "Strip again, or use the release that wrote it."
            )
        try:
            cuts = [
                Cut(cut["tensor"], cut["axis"], cut["size"], tuple(cut["keep"]))
                for cut in value["cuts"]
            ]
            widths = [
                Width(width["coupling"], width["units"], width["kept"]) for width in value["widths"]
            ]
        except (KeyError, TypeError) as fault:
            raise StripError(
                f"The plan cannot be read ({type(fault).__name__}: {fault}). "
                "Use a plan.json as strip wrote it."
            ) from fault
        return cls(tuple(cuts), tuple(widths))


def make_plan(model: nn.Module, couplings: Couplings, structure: Structure) -> StripPlan:
    """The plan that removes from ``model`` every unit that ``structure`` leaves out.

    Raises:
        StructureError: The structure does not fit the couplings.
    """
    check_fit(couplings, structure)
    tensors = named_tensors(model)
    keep: dict[tuple[str, int], Tensor] = {}
    for coupling in couplings.free:
        removed = ~structure.keep[coupling.name]
        for member in coupling.members:
            place = (member.tensor, member.axis)
            size = tensors[member.tensor].shape[member.axis]
            keep.setdefault(place, torch.ones(size, dtype=torch.bool))
            keep[place][member.index[removed].flatten()] = False
    cuts = tuple(
        Cut(tensor, axis, kept.numel(), tuple(kept.nonzero().flatten().tolist()))
        for (tensor, axis), kept in sorted(keep.items())
        if not kept.all()
    )
    widths = tuple(
        Width(name, structure.keep[name].numel(), kept) for name, kept in structure.widths().items()
    )
    return StripPlan(cuts, widths)

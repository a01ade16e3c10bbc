"""StripPlan: what is kept on each axis of each tensor, as plain data that can be saved as JSON."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from compressor.couplings.branch import Branch, dead_branches, without_dead
from compressor.couplings.coupling import Couplings, Form, check_fit, named_tensors
from compressor.couplings.program import Program
from compressor.errors import StripError
from compressor.strip.edits import Edit, edits_of
from compressor.strip.layers import ATTRIBUTES, keeps_divisor
from compressor.strip.norms import divisor_of
from compressor.structure import Structure

PLAN_VERSION = 2


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
class Attribute:
    """A whole number that a module of the network's own holds, and what it becomes."""

    module: str
    name: str
    value: int


@dataclass(frozen=True)
class StripPlan:
    """All cuts that turn a network into the slim one; replayed on a freshly built network."""

    cuts: tuple[Cut, ...]
    widths: tuple[Width, ...]
    form: Form = "module"
    attributes: tuple[Attribute, ...] = ()
    divisors: Mapping[str, int] = field(default_factory=dict)
    """Norms that keep the divisor of the network before: module name -> divisor."""
    edits: tuple[Edit, ...] = ()
    inputs: Any = None
    """The arguments that the edited graph was captured with, without values."""
    branches: tuple[Branch, ...] = ()
    """Residual branches that go as blocks; the form is then ``graph``."""

    program: Program | None = field(default=None, compare=False, repr=False)
    """The captured graph that the edits are for, where it is at hand; not saved."""

    def with_plain_norms(self) -> "StripPlan":
        """The plan of the same network with ordinary norms: another function until it is tuned."""
        edits = tuple(edit for edit in self.edits if edit.argument != "divisor")
        return replace(self, divisors={}, edits=edits)

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
            "form": self.form,
            "attributes": [[a.module, a.name, a.value] for a in self.attributes],
            "divisors": dict(self.divisors),
            "edits": [edit.to_json() for edit in self.edits],
            "inputs": self.inputs,
            "branches": [branch.to_json() for branch in self.branches],
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
            more = {
                "form": value["form"],
                "attributes": tuple(Attribute(*entry) for entry in value["attributes"]),
                "divisors": dict(value["divisors"]),
                "edits": tuple(Edit.from_json(entry) for entry in value["edits"]),
                "inputs": value["inputs"],
                "branches": tuple(map(Branch.from_json, value["branches"])),
            }
        except (KeyError, TypeError, ValueError) as fault:
            raise StripError(
                f"The plan cannot be read ({type(fault).__name__}: {fault}). "
                "Use a plan.json as strip wrote it."
            ) from fault
        return cls(tuple(cuts), tuple(widths), **more)


def make_plan(model: nn.Module, couplings: Couplings, structure: Structure) -> StripPlan:
    """The plan that removes from ``model`` every unit that ``structure`` leaves out.

    A branch that a coupling without units takes along is removed whole; inside it nothing is cut.

    Raises:
        StructureError: The structure does not fit the couplings.
    """
    check_fit(couplings, structure)
    branches = dead_branches(couplings.branches, structure)
    structure = without_dead(couplings.branches, structure)
    inside = {tensor for branch in branches for tensor in branch.tensors}
    cuts = tuple(c for c in _cuts(model, couplings, structure) if c.tensor not in inside)
    widths = tuple(
        Width(name, structure.keep[name].numel(), kept) for name, kept in structure.widths().items()
    )
    if couplings.form == "graph" or branches:
        assert couplings.program is not None
        edits = _edits(couplings.program, structure, branches)
        inputs = couplings.program.inputs
        plan = StripPlan(cuts, widths, "graph", edits=edits, inputs=inputs, branches=branches)
        return replace(plan, program=couplings.program)
    attributes = mended_attributes(model, cuts, widths) if couplings.form == "mended" else ()
    divisors = kept_divisors(model, {cut.tensor for cut in cuts})
    return StripPlan(cuts, widths, couplings.form, attributes, divisors)


def _edits(program: Program, structure: Structure, branches: Sequence[Branch]) -> tuple[Edit, ...]:
    """Edits of the calls that stay; those in ``branches`` are not made smaller, they go."""
    gone = {name for branch in branches for name in branch.couplings}
    calls = {name for branch in branches for name in branch.calls}
    keep = {name: kept for name, kept in structure.keep.items() if name not in gone}
    return tuple(edit for edit in edits_of(program, keep) if edit.node not in calls)


def _cuts(model: nn.Module, couplings: Couplings, structure: Structure) -> tuple[Cut, ...]:
    tensors = named_tensors(model)
    keep: dict[tuple[str, int], Tensor] = {}
    for coupling in couplings.free:
        removed = ~structure.keep[coupling.name]
        for member in coupling.members:
            place = (member.tensor, member.axis)
            if member.tensor not in tensors:
                raise StripError(
                    f"{member.tensor}: the coupling {coupling.name} cuts a tensor that the network "
                    "does not have. Give the couplings of this network."
                )
            size = tensors[member.tensor].shape[member.axis]
            keep.setdefault(place, torch.ones(size, dtype=torch.bool))
            keep[place][member.index[removed].flatten()] = False
    return tuple(
        Cut(tensor, axis, kept.numel(), tuple(kept.nonzero().flatten().tolist()))
        for (tensor, axis), kept in sorted(keep.items())
        if not kept.all()
    )


def mended_attributes(
    model: nn.Module, cuts: Sequence[Cut], widths: Sequence[Width]
) -> tuple[Attribute, ...]:
    """Whole numbers of composite modules that equal an old width of something cut inside them.

    A guess, to be confirmed by running: a number that equals two old widths is left alone.
    """
    found = []
    units = {width.coupling: width for width in widths}
    for name, module in model.named_modules():
        if type(module) in ATTRIBUTES:
            continue
        prefix = f"{name}." if name else ""
        news: dict[int, set[int]] = defaultdict(set)
        for cut in cuts:
            inside = cut.tensor.removeprefix(prefix)
            if cut.tensor.startswith(prefix) and inside.count(".") <= 1:
                news[cut.size].add(len(cut.keep))
                width = units.get(cut.tensor.rpartition(".")[0])
                if width is not None:
                    news[width.units].add(width.kept)
        for attribute, value in vars(module).items():
            if type(value) is int and len(news.get(value, ())) == 1:
                found.append(Attribute(name, attribute, *news[value]))
    return tuple(found)


def kept_divisors(model: nn.Module, cut: Set[str]) -> dict[str, int]:
    """Divisors of the norms that lose channels of those they take statistics over, by name."""
    modules = dict(model.named_modules())
    owners = {tensor.rpartition(".")[0] for tensor in cut}
    return {
        name: divisor_of(modules[name])
        for name in sorted(owners)
        if name in modules and keeps_divisor(modules[name])
    }

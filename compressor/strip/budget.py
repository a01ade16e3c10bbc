"""A path and a budget -> the structure: which units a slim network of the asked size keeps.

Units are ranked by score over all couplings at once. A coupling's score is first divided by its own
mean, since raw scores of different couplings are not comparable, and no coupling falls below its
floor, since one cut over everything otherwise empties single layers and ruins the network.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressor.count import COUNTED
from compressor.couplings.coupling import Coupling, Couplings
from compressor.errors import BudgetError, StructureError
from compressor.settings import Settings
from compressor.structure import Path, Structure


class StripSettings(Settings):
    """What the slim network may cost. At most one budget; without one the support is kept as it is.

    A budget never keeps more than it says; it ends below it by what one step of ``round_to`` costs.
    """

    keep_macs: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's MACs that the slim one may use."""
    keep_params: float | None = Field(default=None, gt=0, le=1)
    """Share of the dense network's parameters that the slim one may have."""
    floor_share: float = Field(default=0.1, ge=0, le=1)
    """Share of its units that every coupling keeps at least; one unit in any case."""
    round_to: int = Field(default=8, ge=1)
    """Widths are multiples of this (or the whole width): engines are slow at odd ones."""

    @model_validator(mode="after")
    def _one_budget(self) -> "StripSettings":
        if self.keep_macs is not None and self.keep_params is not None:
            raise ValueError(
                f"keep_macs = {self.keep_macs} and keep_params = {self.keep_params} are two "
                "budgets; give one"
            )
        return self


@dataclass(frozen=True)
class Cost:
    """What a structure costs, in closed form: no network is built to know it.

    Each weight of a convolution or linear layer is used a fixed number of times per image, so MACs
    follow the number of kept weights, and that is a product over the tensor's axes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each parameter, a shared one under one of its names."""
    macs_per_entry: Mapping[str, float]
    """For the weight of each counted layer: how often each of its entries is used per image."""
    fixed_macs: float
    """MACs of layers that no coupling reaches and whose weight is not a parameter."""
    cut_axes: Mapping[str, Mapping[int, tuple[tuple[str, int], ...]]]
    """For each tensor and axis: the couplings along it, with the positions one unit has."""

    @classmethod
    def of(cls, model: nn.Module, couplings: Couplings, macs: Mapping[str, int]) -> "Cost":
        """Cost model of ``model``; ``macs`` are those of its layers, by module name."""
        parameters = dict(model.named_parameters())
        first_name = {id(parameter): name for name, parameter in parameters.items()}
        per_entry: dict[str, float] = defaultdict(float)
        fixed_macs = 0.0
        for name, layer in model.named_modules():
            if isinstance(layer, COUNTED) and name in macs:
                weight = first_name.get(id(layer.weight))
                if weight is None:
                    # Computed anew at each use, as under weight norm: no parameter, never cut.
                    fixed_macs += macs[name]
                else:
                    # A weight that two layers share adds up the uses of both.
                    per_entry[weight] += macs[name] / layer.weight.numel()
        axes: dict[str, dict[int, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
        for coupling in couplings.free:
            for member in coupling.members:
                axes[member.tensor][member.axis].append((coupling.name, member.index.shape[1]))
        return cls(
            shapes={name: tuple(tensor.shape) for name, tensor in parameters.items()},
            macs_per_entry=dict(per_entry),
            fixed_macs=fixed_macs,
            cut_axes={
                tensor: {axis: tuple(owners) for axis, owners in by_axis.items()}
                for tensor, by_axis in axes.items()
            },
        )

    def macs(self, removed: Mapping[str, int]) -> float:
        """MACs per image when each coupling loses the given number of units."""
        return self.fixed_macs + sum(
            self._entries(tensor, removed) * share for tensor, share in self.macs_per_entry.items()
        )

    def params(self, removed: Mapping[str, int]) -> float:
        """Parameters when each coupling loses the given number of units."""
        return sum(self._entries(tensor, removed) for tensor in self.shapes)

    def _entries(self, tensor: str, removed: Mapping[str, int]) -> int:
        sizes = list(self.shapes[tensor])
        for axis, owners in self.cut_axes.get(tensor, {}).items():
            sizes[axis] -= sum(removed.get(name, 0) * block for name, block in owners)
        return math.prod(sizes)


def solve(
    couplings: Couplings, cost: Cost, path: Path, support: Structure, settings: StripSettings
) -> Structure:
    """The structure that ``settings`` asks for, its units in the order of ``path``.

    Without a budget the support stays whole, and the best units outside fill it up to its floor and
    to ``round_to``.

    Raises:
        BudgetError: The budget is below what the floors alone cost.
        StructureError: The path or the support is not one of these couplings.
    """
    scores = path.scores()
    _check_scores(couplings, scores)
    floors = {c.name: floor_of(c, settings) for c in couplings.free}
    if settings.keep_macs is None and settings.keep_params is None:
        widths = _rounded_support(couplings, support, floors, settings.round_to)
        scores = {
            name: torch.where(support.keep[name], torch.inf, score)
            for name, score in scores.items()
        }
    else:
        widths = _widths_in_budget(couplings, cost, scores, floors, settings)
    return best_units(scores, widths)


def _check_scores(couplings: Couplings, scores: Mapping[str, Tensor]) -> None:
    units = {coupling.name: coupling.num_units for coupling in couplings.free}
    if {name: score.numel() for name, score in scores.items()} != units:
        raise StructureError(
            f"The path ranks {sum(score.numel() for score in scores.values())} units in "
            f"{len(scores)} couplings, the network has {sum(units.values())} in {len(units)}, or "
            "other ones. Use the path with the network it was walked on."
        )
    for name, score in scores.items():
        if not score.isfinite().all():
            raise StructureError(
                f"{name}: the path holds a score that is not a finite number. "
                "Train again with a smaller rate; this run has diverged."
            )


def _rounded_support(
    couplings: Couplings, support: Structure, floors: Mapping[str, int], multiple: int
) -> dict[str, int]:
    widths = {}
    for coupling in couplings.free:
        kept = support.keep.get(coupling.name)
        if kept is None or kept.numel() != coupling.num_units:
            raise StructureError(
                f"{coupling.name}: the support is not one of its {coupling.num_units} units. "
                "Use the structure with the network it was trained on."
            )
        wanted = max(floors[coupling.name], round_up(int(kept.sum()), multiple))
        widths[coupling.name] = min(coupling.num_units, wanted)
    return widths


def floor_of(coupling: Coupling, settings: StripSettings) -> int:
    """Fewest units that the coupling keeps: its floor share, up to ``round_to``, at most all."""
    floor = max(1, math.ceil(coupling.num_units * settings.floor_share))
    return min(coupling.num_units, round_up(floor, settings.round_to))


def round_up(width: int, multiple: int) -> int:
    """Smallest multiple of ``multiple`` that is at least ``width``."""
    return -(-width // multiple) * multiple


def best_units(scores: Mapping[str, Tensor], widths: Mapping[str, int]) -> Structure:
    """In each coupling the given number of units with the largest scores; ties to the first."""
    keep = {}
    for name, score in scores.items():
        keep[name] = torch.zeros(score.numel(), dtype=torch.bool)
        keep[name][score.argsort(descending=True, stable=True)[: widths[name]]] = True
    return Structure(keep)


def relative_scores(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores divided by the mean of their coupling; a coupling of zeros stays zero."""
    return {
        name: score / mean if (mean := float(score.mean())) > 0 else score
        for name, score in scores.items()
    }


def _widths_in_budget(
    couplings: Couplings,
    cost: Cost,
    scores: Mapping[str, Tensor],
    floors: Mapping[str, int],
    settings: StripSettings,
) -> dict[str, int]:
    """Widths, multiples of ``round_to``, that fill the budget without passing it.

    Steps of ``round_to`` units are granted in the order of their mean relative score; a step that
    no longer fits is passed over, so that smaller ones behind it can fill what is left.
    """
    units = {coupling.name: coupling.num_units for coupling in couplings.free}
    measure, share = _measure(cost, settings)
    allowed = share * measure({})
    widths = dict(floors)
    if (least := measure(_removed(units, widths))) > allowed:
        raise BudgetError(
            f"The budget keeps {share:g} of the {_budget_word(settings)}, but the floors alone "
            f"cost {least / measure({}):.3f}. Raise the budget, or lower strip.floor_share "
            f"({settings.floor_share:g}) or strip.round_to ({settings.round_to})."
        )
    steps = _steps(relative_scores(scores), floors, settings.round_to)
    for name, width in steps:
        if width > widths[name]:
            wider = {**widths, name: width}
            if measure(_removed(units, wider)) <= allowed:
                widths = wider
    return widths


def _steps(
    scores: Mapping[str, Tensor], floors: Mapping[str, int], multiple: int
) -> list[tuple[str, int]]:
    """All steps above the floors, best first: (coupling, width after the step)."""
    steps = []
    for name, score in scores.items():
        ranked = score.sort(descending=True, stable=True).values
        width = floors[name]
        while width < ranked.numel():
            wider = min(width + multiple, ranked.numel())
            steps.append((float(ranked[width:wider].mean()), name, wider))
            width = wider
    steps.sort(key=lambda step: -step[0])
    return [(name, width) for _, name, width in steps]


def _measure(
    cost: Cost, settings: StripSettings
) -> tuple[Callable[[Mapping[str, int]], float], float]:
    if settings.keep_macs is not None:
        return cost.macs, settings.keep_macs
    assert settings.keep_params is not None
    return cost.params, settings.keep_params


def _budget_word(settings: StripSettings) -> str:
    return "MACs" if settings.keep_macs is not None else "parameters"


def _removed(units: Mapping[str, int], widths: Mapping[str, int]) -> dict[str, int]:
    return {name: num_units - widths[name] for name, num_units in units.items()}


def removed_units(structure: Structure) -> dict[str, int]:
    """Units that each coupling loses."""
    return {name: kept.numel() - int(kept.sum()) for name, kept in structure.keep.items()}

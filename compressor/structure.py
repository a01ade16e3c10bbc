"""Structure and Path: what training hands to everything that comes after it.

A structure says which units, or which single weights, are kept. A path says in which order, and
when, the units entered, so that any budget is a slice of one run. Paths, and structures of units,
are keyed by coupling name, structures of weights by parameter name. Nothing else counts sparsity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from compressor.errors import StructureError

NEVER = -1
"""Entry step of a unit that has not entered."""


Granularity = Literal["channel", "weight", "2:4"]
"""What a structure keeps: units of couplings, single weights, or two weights of every four."""


@dataclass(frozen=True)
class Structure:
    """Which units of each coupling, or which weights of each parameter, are kept.

    Attributes:
        keep: For each coupling name a bool tensor, shape ``(units,)``; for single weights, for each
            parameter name one of the parameter's shape. True is kept.
        granularity: What is kept or left out.
    """

    keep: Mapping[str, Tensor]
    granularity: Granularity = "channel"

    def __post_init__(self) -> None:
        for name, kept in self.keep.items():
            one_axis = kept.dim() == 1 or self.granularity != "channel"
            if kept.dtype != torch.bool or not one_axis:
                raise StructureError(
                    f"{name}: a structure holds one bool per unit, not {kept.dtype} of shape "
                    f"{tuple(kept.shape)}. Make it from scores or from a saved structure.json."
                )

    @property
    def num_units(self) -> int:
        """Units, or weights, in all couplings or parameters together."""
        return sum(kept.numel() for kept in self.keep.values())

    @property
    def num_kept(self) -> int:
        """Kept ones in all couplings or parameters together."""
        return sum(int(kept.sum()) for kept in self.keep.values())

    @property
    def sparsity(self) -> float:
        """Share that is left out, in [0, 1]."""
        return 1.0 - self.num_kept / self.num_units if self.num_units else 0.0

    def widths(self) -> dict[str, int]:
        """Kept ones of each coupling or parameter."""
        return {name: int(kept.sum()) for name, kept in self.keep.items()}

    def to_json(self) -> dict[str, Any]:
        """JSON value of a structure of units; the kept positions of each coupling.

        Raises:
            StructureError: It is of single weights, whose masks are tensors and belong in a
                tensor file.
        """
        if self.granularity != "channel":
            raise StructureError(
                f"A structure of granularity {self.granularity} has {self.num_units} entries, too "
                "many for JSON. Save its masks as tensors."
            )
        return {
            "granularity": "channel",
            "keep": {
                name: {"units": kept.numel(), "kept": kept.nonzero().flatten().tolist()}
                for name, kept in self.keep.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Structure":
        """Read what ``to_json`` wrote.

        Raises:
            StructureError: The value is not one that ``to_json`` wrote.
        """
        try:
            return cls({name: _read_kept(entry) for name, entry in value["keep"].items()})
        except _UNREADABLE as fault:
            raise _unreadable("structure", fault) from fault


@dataclass(frozen=True)
class UnitPath:
    """When the units of one coupling entered the support, and how they rank.

    Attributes:
        entry_step: int64, shape ``(units,)``: optimiser step (from 1), or ``NEVER``.
        entry_time: float64, shape ``(units,)``: path time (sum of step sizes), or infinity.
        score: float64, shape ``(units,)``: larger is kept first; comparable over all couplings.
        factors: What the score is made of, by name, float64, shape ``(units,)`` each; empty where
            the method's score is of one piece.
    """

    entry_step: Tensor
    entry_time: Tensor
    score: Tensor
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """Units of the coupling."""
        return self.score.numel()


@dataclass(frozen=True)
class Path:
    """The path of one run: a ``UnitPath`` for each coupling, and the method that walked it."""

    method: str
    couplings: Mapping[str, UnitPath]

    @classmethod
    def of_scores(cls, method: str, scores: Mapping[str, Tensor]) -> "Path":
        """Path of a method that ranks units without letting them enter one by one."""
        return cls(
            method,
            {
                name: UnitPath(
                    entry_step=torch.full(score.shape, NEVER, dtype=torch.int64),
                    entry_time=torch.full(score.shape, torch.inf, dtype=torch.float64),
                    score=score.to(torch.float64),
                )
                for name, score in scores.items()
            },
        )

    def scores(self) -> dict[str, Tensor]:
        """Score of each unit, by coupling."""
        return {name: units.score for name, units in self.couplings.items()}

    @property
    def last_entry(self) -> int:
        """Step of the last entry of any unit; ``NEVER`` where none has entered."""
        steps = [int(units.entry_step.max()) for units in self.couplings.values() if len(units)]
        return max(steps, default=NEVER)

    def support_after(self, step: int) -> Structure:
        """What had entered by the end of an optimiser step (from 1)."""
        return Structure(
            {
                name: (units.entry_step != NEVER) & (units.entry_step <= step)
                for name, units in self.couplings.items()
            }
        )

    def to_json(self) -> dict[str, Any]:
        """JSON value; a unit that never entered has step -1 and time null."""
        return {
            "method": self.method,
            "couplings": {
                coupling: {
                    "entry_step": units.entry_step.tolist(),
                    "entry_time": [
                        time if step != NEVER else None
                        for step, time in zip(
                            units.entry_step.tolist(), units.entry_time.tolist(), strict=True
                        )
                    ],
                    "score": units.score.tolist(),
                    "factors": {name: factor.tolist() for name, factor in units.factors.items()},
                }
                for coupling, units in self.couplings.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Path":
        """Read what ``to_json`` wrote.

        Raises:
            StructureError: The value is not one that ``to_json`` wrote.
        """
        try:
            couplings = {name: _read_units(entry) for name, entry in value["couplings"].items()}
            return cls(value["method"], couplings)
        except _UNREADABLE as fault:
            raise _unreadable("path", fault) from fault


_UNREADABLE = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What reading a JSON value of another make can raise."""


def _unreadable(what: str, fault: Exception) -> StructureError:
    reason = (str(fault).splitlines() or ["no message"])[0]
    return StructureError(
        f"The {what} cannot be read ({type(fault).__name__}: {reason}). "
        f"Use a {what}.json as train wrote it."
    )


def _read_kept(entry: Mapping[str, Any]) -> Tensor:
    kept = torch.zeros(entry["units"], dtype=torch.bool)
    kept[entry["kept"]] = True
    return kept


def _read_units(entry: Mapping[str, Any]) -> UnitPath:
    times = [torch.inf if time is None else time for time in entry["entry_time"]]
    return UnitPath(
        entry_step=torch.tensor(entry["entry_step"], dtype=torch.int64),
        entry_time=torch.tensor(times, dtype=torch.float64),
        score=torch.tensor(entry["score"], dtype=torch.float64),
        factors={
            name: torch.tensor(factor, dtype=torch.float64)
            for name, factor in entry.get("factors", {}).items()
        },
    )

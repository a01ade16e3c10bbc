"""Residual branches, and which of them a structure leaves nothing of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from compressor.structure import Structure


@dataclass(frozen=True)
class Branch:
    """The residual branch ``f`` of one addition ``x + f(x)``.

    Attributes:
        name: The module that adds, numbered from the second addition on.
        node: The addition in the captured graph.
        operator: Its operator, to notice another graph.
        operand: Which of its two operands the branch is.
        calls: Operator calls that go with the branch, by their names in the captured graph.
        modules: Modules that run in the branch only.
        couplings: Couplings that lie in the branch whole.
        tensors: Parameters and buffers that nothing else reads.
        last: Parameters that make the branch exactly zero when they are.
    """

    name: str
    node: str
    operator: str
    operand: int
    calls: tuple[str, ...]
    modules: tuple[str, ...]
    couplings: tuple[str, ...]
    tensors: tuple[str, ...]
    last: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Branch":
        """Read what ``to_json`` wrote."""
        found: dict[str, Any] = {entry.name: value[entry.name] for entry in fields(cls)}
        lists = {name: tuple(entry) for name, entry in found.items() if isinstance(entry, list)}
        return cls(**{**found, **lists})


def dead_branches(branches: Sequence[Branch], structure: Structure) -> tuple[Branch, ...]:
    """The branches that go: the smallest around each coupling without units, and all inside it."""
    dead: dict[str, Branch] = {}
    waiting = [name for name, kept in structure.keep.items() if not kept.any()]
    while waiting:
        branch = _smallest(branches, waiting.pop())
        if branch is not None and branch.name not in dead:
            dead[branch.name] = branch
            waiting += branch.couplings
    return tuple(branch for branch in branches if branch.name in dead)


def without_dead(branches: Sequence[Branch], structure: Structure) -> Structure:
    """``structure`` with no unit left in the couplings of branches that go."""
    gone = {name for branch in dead_branches(branches, structure) for name in branch.couplings}
    return Structure(
        {
            name: torch.zeros_like(kept) if name in gone else kept
            for name, kept in structure.keep.items()
        }
    )


def _smallest(branches: Sequence[Branch], coupling: str) -> Branch | None:
    around = [branch for branch in branches if coupling in branch.couplings]
    return min(around, key=lambda branch: len(branch.calls), default=None)

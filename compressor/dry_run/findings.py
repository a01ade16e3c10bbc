"""What the checks of a dry run found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from compressor.errors import CheckError, RecipeError

State = Literal["holds", "fault", "skipped"]
"""Skipped is what needs something that another check found wrong."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        state: What came of it.
        told: Lines for a person: what is there, what is wrong, or why it was not looked at.
        of_recipe: Whether a fault is one of what the recipe names, and not of this machine.
    """

    check: str
    state: State
    told: tuple[str, ...]
    of_recipe: bool = True


@dataclass(frozen=True)
class Findings:
    """What all checks of one recipe found, in their order.

    Attributes:
        recipe: Its name.
        all: One for each check.
    """

    recipe: str
    all: tuple[Finding, ...]

    @property
    def faults(self) -> list[str]:
        """What is wrong, a line each; what two checks found stands once."""
        lines: list[str] = []
        for found in self.all:
            new = found.told if found.state == "fault" else ()
            lines += [line for line in new if not any(known.endswith(line) for known in lines)]
        return lines

    def check(self) -> None:
        """Refuse a recipe of which a check did not hold; the message has all faults, a line each.

        Raises:
            RecipeError: Its data, its network or its budget is one of the faults.
            CheckError: The faults are of the export or of this machine alone.
        """
        if not self.faults:
            return
        faulty = (found for found in self.all if found.state == "fault")
        kind = RecipeError if any(found.of_recipe for found in faulty) else CheckError
        raise kind("\n".join(self.faults))

    def to_json(self) -> dict[str, Any]:
        """``recipe``, ``holds``, and of each of ``checks`` its ``check``, ``state``, ``told``."""
        checks = [{"check": f.check, "state": f.state, "told": list(f.told)} for f in self.all]
        return {"recipe": self.recipe, "holds": not self.faults, "checks": checks}

    def table(self) -> str:
        """For a person: a row for each check, its lines below each other."""
        return "".join(f"{line}\n" for found in self.all for line in _rows(found))


def _rows(found: Finding) -> Iterator[str]:
    # Faults stand in full on standard error.
    first, *rest = ("see below",) if found.state == "fault" else found.told
    yield f"{found.check:<9}{found.state:<9}{first}"
    yield from (f"{'':<18}{line}" for line in rest)

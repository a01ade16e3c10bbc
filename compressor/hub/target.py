"""Where packages go to and come from: a folder, or a repository on huggingface.co."""

import re
from dataclasses import dataclass
from pathlib import Path

from compressor.errors import RecipeError

HUB = "hf:"

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REPOSITORY = re.compile(rf"(?P<name>{_NAME}/{_NAME})(?:@(?P<revision>[A-Za-z0-9._/-]+))?")


@dataclass(frozen=True)
class Repository:
    """A model repository.

    Attributes:
        name: ``owner/name``.
        revision: Branch, tag or commit; None is the main branch.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        """As on the command line."""
        return f"{HUB}{self.name}" + (f"@{self.revision}" if self.revision else "")


def read_target(text: str) -> Path | Repository:
    """What ``text`` names: ``hf:owner/name``, ``hf:owner/name@revision``, or else a folder.

    Raises:
        RecipeError: It begins with ``hf:`` and goes on otherwise.
    """
    if not text.startswith(HUB):
        return Path(text)
    found = _REPOSITORY.fullmatch(text.removeprefix(HUB))
    if found is None:
        raise RecipeError(
            f"{text} is not a repository. Write hf:owner/name, or hf:owner/name@revision; "
            "for a folder of this name, ./ before it."
        )
    return Repository(found["name"], found["revision"])

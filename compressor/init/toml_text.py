"""A recipe as commented TOML: every value with the reason that it was chosen for."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from compressor.report.toml_text import value_text

LINE = 100

Value = str | int | float | tuple[str | int | float, ...]


@dataclass(frozen=True)
class Choice:
    """One key, its value, and why; nothing where that has been said."""

    key: str
    value: Value
    why: str


@dataclass(frozen=True)
class Section:
    """One table of the recipe; an empty name is the head of the file.

    Attributes:
        name: Of the table.
        why: What it is about.
        choices: Its keys.
        also: Settings that were not made and may be wanted, a sentence each.
    """

    name: str
    why: str
    choices: tuple[Choice, ...]
    also: tuple[str, ...] = ()


def as_toml(sections: Sequence[Section]) -> str:
    """The text of the file, which ``tomllib`` reads."""
    return "\n".join(_section(section) for section in sections)


def _section(section: Section) -> str:
    lines = comment(section.why)
    lines += [f"[{section.name}]"] if section.name else [""]
    for choice in section.choices:
        lines += [*comment(choice.why), f"{choice.key} = {value_text(choice.value)}"]
    for sentence in section.also:
        lines += comment(sentence)
    return "\n".join(lines) + "\n"


def comment(text: str) -> list[str]:
    """``text`` as comment lines; its own line breaks stay."""
    return [
        f"# {line}".rstrip()
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, LINE - 2, break_on_hyphens=False) or [""]
    ]

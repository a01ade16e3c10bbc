"""TOML files of the user: read with the lines in which keys stand, or refused in one line."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import RecipeError

Key = tuple[str, ...]
"""Names of sections and of what stands in them, from the outside in."""

PLACE = re.compile(r" \((?:at line (\d+), column \d+|at end of document)\)$")
"""Where tomllib found a fault, as its message ends."""


@dataclass(frozen=True)
class TomlFile:
    """What stands in a TOML file.

    Attributes:
        values: By section and key.
        lines: In which line, from 1, each section and key begins.
    """

    values: dict[str, Any]
    lines: Mapping[Key, int]


def read_toml(path: Path) -> TomlFile:
    """What stands in the file at ``path``.

    Raises:
        RecipeError: It cannot be read, is not UTF-8 text, or is not TOML.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise RecipeError(_not_toml(path, text, str(failure))) from failure
    return TomlFile(values, lines_of(text))


def lines_of(text: str) -> dict[Key, int]:
    """In which line, from 1, each section and key of ``text``, which is TOML, first begins."""
    lines: dict[Key, int] = {}
    section: Key = ()
    for number, statement in _statements(text):
        keys = list(_keys(tomllib.loads(statement)))
        if statement.lstrip().startswith("["):
            section = keys[-1]
            keys = [section[:depth] for depth in range(1, len(section) + 1)]
        else:
            keys = [section + key for key in keys]
        for key in keys:
            lines.setdefault(key, number)
    return lines


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        # Some editors open a file with a byte order mark, which TOML does not know.
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        raise RecipeError(
            f"{path}, line {line}: this is not UTF-8 text: {failure.reason} at byte "
            f"{failure.start}. Save it as UTF-8."
        ) from failure
    except OSError as failure:
        raise RecipeError(
            f"{path} cannot be read: {failure.strerror}. Mend its permissions, or name another."
        ) from failure


def _not_toml(path: Path, text: str, message: str) -> str:
    """Where the first fault is, what it is, what to do."""
    rows = text.split("\n")
    found = PLACE.search(message)
    number = int(found[1]) if found and found[1] else _unfinished(text)
    what = PLACE.sub("", message)
    return f"{path}, line {number}: {_twice(rows, number, what) or _told(rows, number, what)}"


def _unfinished(text: str) -> int:
    """Line in which begins what is not closed by the end of ``text``."""
    done = 0
    for number, statement in _statements(text):
        done = number + statement.count("\n")
    rows = text.split("\n")[done:]
    return done + next(number for number, row in enumerate(rows, start=1) if row.strip())


def _told(rows: list[str], number: int, what: str) -> str:
    shown = rows[number - 1].strip()
    return f"this is not TOML: {what[:1].lower()}{what[1:]} in {shown!r}. Mend that place."


def _twice(rows: list[str], number: int, what: str) -> str | None:
    """Of a key or a section that was given before, which it is and where; None of other faults."""
    if not what.startswith(("Cannot overwrite", "Cannot declare")):
        return None
    # All above it is in order, and so is what it says by itself.
    before = lines_of("\n".join(rows[: number - 1]))
    headers = [row for row in rows[: number - 1] if row.lstrip().startswith("[")]
    is_header = rows[number - 1].lstrip().startswith("[")
    own = lines_of("\n".join([*([] if is_header else headers[-1:]), rows[number - 1]]))
    again = next((key for key in reversed(own) if key in before), None)
    if again is None:
        return None
    return f"{'.'.join(again)} is given again, first in line {before[again]}. Keep one of them."


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers, and keys with their values, each with its first line; a value may take several."""
    begun: list[str] = []
    for number, row in enumerate(text.split("\n"), start=1):
        if not begun and (not row.strip() or row.lstrip().startswith("#")):
            continue
        begun.append(row)
        statement = "\n".join(begun)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            # A text or a list goes on in the next line.
            continue
        yield number - len(begun) + 1, statement
        begun = []


def _keys(values: Any, place: Key = ()) -> Iterator[Key]:
    """Places of all tables and values in ``values``, the outer before the inner."""
    if place:
        yield place
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _keys(value, (*place, name))

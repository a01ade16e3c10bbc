"""Settings given as ``key=value``, and the nearest of known words."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any


def set_value(values: dict[str, Any], override: str, example: str) -> str | None:
    """Put ``section.key=value`` into ``values``, or say what is wrong with it.

    Args:
        values: Nested settings; changed.
        override: The value in TOML; bare words are text.
        example: A right one, for the message.
    """
    _, equals, text = override.partition("=")
    names = key_of(override)
    if not equals or not all(names):
        return f"--set {override}: write section.key=value, such as {example}."
    section: Any = values
    for name in names[:-1]:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            return f"--set {override}: {name} is a value, not a section. Set {name} itself."
    section[names[-1]] = toml_value(text.strip())
    return None


def key_of(override: str) -> tuple[str, ...]:
    """Which setting ``section.key=value`` is for, from the outside in."""
    return tuple(name.strip() for name in override.partition("=")[0].split("."))


def toml_value(text: str) -> Any:
    """What ``text`` is in TOML; bare words, which are nothing there, are text."""
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # Text of several lines could be read as more than one key.
    return read["value"] if len(read) == 1 else text


def near(word: str, words: Mapping[str, Any] | Sequence[str]) -> str:
    """A sentence with the nearest of ``words``, or with all of them."""
    return did_you_mean(word, words) or f"There are {', '.join(words)}."


def did_you_mean(word: str, words: Mapping[str, Any] | Sequence[str]) -> str:
    """A question with the nearest of ``words``; empty if none is near."""
    found = nearest(word, words)
    return f"Did you mean {found}?" if found else ""


def nearest(word: str, words: Mapping[str, Any] | Sequence[str]) -> str | None:
    """The nearest of ``words``; None if none is near."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return found[0] if found else None

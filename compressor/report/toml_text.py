"""Plain values as TOML, so that the settings of a run are a recipe again."""

import json
import re
from collections.abc import Mapping
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_toml(values: Mapping[str, Any]) -> str:
    """``values`` as a TOML document; what is ``None`` is left out, as TOML has no word for it.

    Args:
        values: Mappings, lists, text, numbers and truth values, as JSON has them.
    """
    return "\n".join(_lines(values, "")).strip() + "\n"


def _lines(values: Mapping[str, Any], prefix: str) -> list[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {value_text(each)}" for key, each in plain.items() if each is not None]
    for key, table in tables.items():
        name = f"{prefix}{_key(key)}"
        lines += ["", f"[{name}]", *_lines(table, f"{name}.")]
    return lines


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def value_text(value: Any) -> str:
    """One value as TOML writes it; mappings become inline tables."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        pairs = (
            f"{_key(key)} = {value_text(each)}" for key, each in value.items() if each is not None
        )
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value)


def _text(text: str) -> str:
    # JSON's strings are TOML's, but for this one character, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

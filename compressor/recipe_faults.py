"""What is wrong with a recipe, in one line each: what pydantic finds, in words for its writer."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from compressor.overrides import near
from compressor.sparsity.catalog import METHODS

MAX_SHOWN = 60
"""A wrong value is shown up to so many characters."""

ARGUMENT_KINDS = "text, a number, true or false, or a list of whole numbers"
"""What may be an argument of a network's factory."""

SEVERAL, ALL = "several_faults", "faults"
"""Type of an error that stands for several lines, and where it holds them."""


@dataclass(frozen=True)
class Origin:
    """Where the settings of a recipe stand.

    Attributes:
        name: Of the file, or of what else holds them.
        lines: In which line, from 1, each section and key begins; empty for what has no lines.
        overridden: Keys whose values the command line gave.
    """

    name: str
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overridden: tuple[tuple[str, ...], ...] = ()

    def told(self, fault: str) -> str:
        """``fault``, which begins with the key that it is about, with the place of that key."""
        words = re.split(r"[\s:]", fault, maxsplit=1)[0].split(".")
        for depth in range(len(words), 0, -1):
            key = tuple(words[:depth])
            if any(given[:depth] == key for given in self.overridden):
                return f"{self.name} with --set: {fault}"
            if key in self.lines:
                return f"{self.name}, line {self.lines[key]}: {fault}"
        return f"{self.name}{' with --set' if self.overridden else ''}: {fault}"


def several(faults: Sequence[str]) -> PydanticCustomError:
    """An error that stands for several lines."""
    return PydanticCustomError(SEVERAL, "{told}", {"told": "; ".join(faults), ALL: list(faults)})


def faults_of(failure: ValidationError, recipe: type[BaseModel]) -> list[str]:
    """What is wrong, a line each: where, with which value, and what to do.

    Args:
        failure: What pydantic said.
        recipe: What was to be read.
    """
    # A value that fits no kind of a union is one fault, and pydantic gives one for each kind.
    causes = _causes(failure.errors())
    return list(dict.fromkeys(fault for error in causes for fault in _faults(error, recipe)))


def _causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The errors without those that only follow: a list is short since its items were refused."""
    places = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(p[: len(error["loc"])] == error["loc"] != p for p in places)
    ]


def _faults(error: ErrorDetails, recipe: type[BaseModel]) -> list[str]:
    """One line, or the several that an error stands for."""
    return list(error["ctx"][ALL]) if error["type"] == SEVERAL else [_fault(error, recipe)]


def _fault(error: ErrorDetails, recipe: type[BaseModel]) -> str:
    """One line: where, what is wrong with its value, what to do."""
    place = _without_tag([str(part) for part in error["loc"]])
    where = ".".join(place) or "the recipe"
    match error["type"]:
        case "extra_forbidden":
            known = _keys_around(error["loc"], recipe)
            misspelt = difflib.get_close_matches(place[-1], known, n=1)
            hint = "" if misspelt else _elsewhere(place, recipe)
            hint = hint or near(place[-1], known)
            return f"{where}: there is no such key. {hint}"
        case "missing":
            return f"{where}: the {_kind(place, recipe)} is missing. Add it."
        case "union_tag_not_found":
            return f"{where}.method: the key is missing. Choose one of {', '.join(METHODS)}."
        case "union_tag_invalid":
            found = error["input"]["method"]
            return f"{where}.method: {found!r} is not a method. {near(str(found), METHODS)}"
        case _:
            return _value_fault(error, where, place)


def _elsewhere(place: list[str], recipe: type[BaseModel]) -> str:
    """A sentence on who has the key that was written in the wrong place; empty if nobody has."""
    key = place[-1]
    if place[0] == "sparsity":
        owners = [name for name, method in METHODS.items() if key in method.settings.model_fields]
        return f"It is a setting of {', '.join(owners)}." if owners else ""
    sections = [f"[{name}]" for name in recipe.model_fields if key in _keys_of([name], recipe)]
    if len(place) > 1 and key in recipe.model_fields:
        return f"{key} stands at the top of the recipe, not in a section."
    return f"It is a key of {', '.join(sections)}." if sections else ""


def _value_fault(error: ErrorDetails, where: str, place: list[str]) -> str:
    match error["type"]:
        case "value_error":
            return f"{where}: {error['msg'].removeprefix('Value error, ')}."
        case "too_short":
            return f"{where} is empty. Give at least one value."
        case "string_pattern_mismatch":
            return f"{where} = {_shown(error)}: use small letters, digits and any of . _ - only."
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where} = {_shown(error)}: this is a section. Write [{where}] and its keys."
        case _ if place[:2] == ["model", "arguments"] and len(place) > 2:
            return f"{'.'.join(place[:3])}: give {ARGUMENT_KINDS}."
        case _:
            message = error["msg"][:1].lower() + error["msg"][1:]
            return f"{where} = {_shown(error)}: {message}."


def _shown(error: ErrorDetails) -> str:
    text = json.dumps(error["input"], default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _kind(place: list[str], recipe: type[BaseModel]) -> str:
    return "section" if len(place) == 1 and _keys_of(place, recipe) else "key"


def _without_tag(place: list[str]) -> list[str]:
    """Drop the method's name that a union puts into the place."""
    tagged = len(place) > 1 and place[0] == "sparsity" and place[1] in METHODS
    return [place[0], *place[2:]] if tagged else place


def _keys_around(place: Sequence[int | str], recipe: type[BaseModel]) -> list[str]:
    """Keys of the section that the last key of ``place`` stands in."""
    if place[0] == "sparsity" and place[1] in METHODS:
        return list(METHODS[str(place[1])].settings.model_fields)
    return _keys_of(place[:-1], recipe)


def _keys_of(section: Sequence[int | str], recipe: type[BaseModel]) -> list[str]:
    """Keys that a section knows; none for what is no section."""
    model: Any = recipe
    for name in section:
        field = model.model_fields[name].annotation
        model = next((t for t in (field, *get_args(field)) if hasattr(t, "model_fields")), None)
        if model is None:
            return []
    return list(model.model_fields)

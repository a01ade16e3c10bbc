"""Writes the reference pages of the documentation: commands, settings, shipped recipes.

``make reference`` runs it; a test fails where the pages in the repository differ from what it
writes.
"""

import ast
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from compressor.cli import main as compressor
from compressor.recipe import Recipe, shipped_recipes
from compressor.settings import Settings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

WRITTEN_BY = "Written by `make reference` from the code; edit the code, not this page."
OF_FILES = "Written by `make reference` from the folder `recipes`; edit the files, not this page."

HELP_WIDTH = 96

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false"}
SEVERAL = {int: "whole numbers", float: "numbers", str: "texts"}

Row = tuple[str, str, str, str, str]


def commands_page() -> str:
    """Every command with its help."""
    parts = ["# Commands", WRITTEN_BY]
    for words, command in _commands(compressor, ("compressor",)):
        parts += [f"## {' '.join(words)}", f"```text\n{_help_of(words, command)}\n```"]
    return "\n\n".join(parts) + "\n"


def _commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(command.commands[name], (*words, name))


def _help_of(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(
        command,
        info_name=" ".join(words),
        terminal_width=HELP_WIDTH,
        help_option_names=["-h", "--help"],
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def settings_page() -> str:
    """Every section of a recipe with its keys."""
    parts = [
        "# Settings",
        WRITTEN_BY,
        "A recipe is one TOML file. A key without a default has to be given; *not set* means that "
        "the key is left out. The keys of a table stand in the section of its name.",
    ]
    for name, settings in _sections(Recipe, ""):
        parts += [f"## {name}", *_paragraphs(settings), _table(settings)]
    return "\n\n".join(parts) + "\n"


def _sections(settings: type[Settings], path: str) -> Iterator[tuple[str, type[Settings]]]:
    """Each settings class with the heading that it gets, depth first."""
    yield (f"[{path}]" if path else "Top level"), settings
    for key, field in settings.model_fields.items():
        inner = list(_classes(field.annotation))
        for one in inner:
            place = f"{path}.{key}" if path else key
            if len(inner) == 1:
                yield from _sections(one, place)
            else:
                method = one.model_fields["method"].default
                yield f'[{place}] with method = "{method}"', one


def _classes(annotation: Any) -> Iterator[type[Settings]]:
    if inspect.isclass(annotation) and issubclass(annotation, Settings):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _paragraphs(settings: type[Settings]) -> list[str]:
    text = inspect.getdoc(settings) or ""
    return [_inline(part) for part in text.split("\n\n")]


def _table(settings: type[Settings]) -> str:
    told = _docstrings(settings)
    rows = [
        (
            f"`{key}`",
            _words(field.annotation),
            _range(field),
            _default(field),
            field.description or told[key],
        )
        for key, field in settings.model_fields.items()
    ]
    head = ["| key | type | range | default | |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *(_row(row) for row in rows)])


def _cells(key: str, field: FieldInfo, told: str) -> Row:
    return f"`{key}`", _words(field.annotation), _range(field), _default(field), told


def _row(cells: Row) -> str:
    escaped = (_inline(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _inline(text: str) -> str:
    """On one line, code in Markdown's quotes."""
    return " ".join(text.replace("``", "`").split())


def _docstrings(settings: type[Settings]) -> dict[str, str]:
    """The string under each field, of the class and of those it comes from."""
    told = dict.fromkeys(settings.model_fields, "")
    for base in reversed(settings.__mro__):
        if not issubclass(base, Settings) or base is Settings:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        told |= _under_fields(tree)
    return told


def _under_fields(tree: ast.ClassDef) -> dict[str, str]:
    found = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        is_field = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[node.target.id] = str(after.value.value)
    return found


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in (Union, types.UnionType):
        return _either([each for each in arguments if each is not type(None)])
    if origin in (tuple, list):
        return f"list of {SEVERAL.get(arguments[0]) or _words(arguments[0])}"
    if origin is dict:
        return f"table of {_words(arguments[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, Settings):
        return "table"
    return PLAIN[annotation]


def _either(arguments: list[Any]) -> str:
    return " or ".join(dict.fromkeys(_words(argument) for argument in arguments))


def _range(field: FieldInfo) -> str:
    bounds = [bound for item in (field, *_annotations(field.annotation)) for bound in _bounds(item)]
    return ", ".join(dict.fromkeys(bounds))


def _annotations(annotation: Any) -> Iterator[Any]:
    """Every ``Field`` inside an annotation, where entries of lists have their own limits."""
    if get_origin(annotation) is Annotated:
        yield from (item for item in annotation.__metadata__ if isinstance(item, FieldInfo))
    for argument in get_args(annotation):
        yield from _annotations(argument)


def _bounds(item: FieldInfo) -> Iterator[str]:
    for limit in item.metadata:
        for name, sign in SIGNS.items():
            if hasattr(limit, name):
                yield f"{sign} {_number(getattr(limit, name))}"
        if pattern := getattr(limit, "pattern", None):
            yield f"`{pattern}`"
        if shortest := getattr(limit, "min_length", None):
            yield f"{shortest} or more"


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    assert value is not PydanticUndefined
    if value is None:
        return "*not set*"
    return "each key's own" if isinstance(value, Settings) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, dict):
        return "{}" if not value else str(value)
    return _number(value)


def recipes_page() -> str:
    """Every recipe that comes with the project, whole."""
    parts = ["# Recipes", OF_FILES, "`compressor run NAME` runs one; copy it to change it."]
    for name, path in shipped_recipes().items():
        parts += [f"## {name}", f"```toml\n{path.read_text(encoding='utf-8').rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, typing.Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "recipes.md": recipes_page,
}
"""What each page is made by."""


def main() -> int:
    """Write the pages; say which changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        changed = not path.is_file() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {'written' if changed else 'as it was'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

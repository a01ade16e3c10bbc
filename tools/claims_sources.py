"""Which files of this project a module rests on: what it imports, and what that imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT, ROOT / "tools")
"""Where a module of ours can lie: the package's and the tools'."""


@cache
def files_behind(module: str) -> list[Path]:
    """The file of ``module`` and of everything of ours that it imports, wherever it does so."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in found or file is None:
            continue
        found[name] = file
        waiting += _imported(file)
    return sorted(found.values())


@cache
def _imported(file: Path) -> list[str]:
    return list(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # What is imported from a package may be a module of it.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    place = Path(*module.split("."))
    for folder in FOLDERS:
        for file in (folder / place.with_suffix(".py"), folder / place / "__init__.py"):
            if file.is_file():
                return file
    return None

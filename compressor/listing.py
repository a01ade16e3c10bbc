"""What ``compressor list`` lists: methods, data sets, models, recipes, engines."""

import ast
from collections.abc import Callable
from pathlib import Path

from torchvision.models import list_models

from compressor.bench.environment import version
from compressor.data.catalog import SOURCES
from compressor.engines import ENGINES, Form
from compressor.recipe import shipped, shipped_recipes
from compressor.sparsity.catalog import METHODS


def methods() -> list[dict[str, str]]:
    """Methods with the levels at which they work, what they need, and their papers."""
    return [
        {
            "name": m.name,
            "levels": ", ".join(m.levels),
            "needs": m.needs,
            "paper": m.paper,
            "summary": m.summary,
        }
        for m in METHODS.values()
    ]


def sources() -> list[dict[str, str]]:
    """Data sets."""
    return [
        {"name": s.name, "description": s.description, "size": s.size_note, "licence": s.licence}
        for s in SOURCES.values()
    ]


def models() -> list[dict[str, str]]:
    """Shipped factories and torchvision's networks."""
    factories = [
        f"models/{path.name}:{name}"
        for path in sorted(shipped("models").glob("*.py"))
        for name in _public_functions(path)
    ]
    return [{"name": n} for n in [*factories, *(f"torchvision:{n}" for n in list_models())]]


def _public_functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]


def recipes() -> list[dict[str, str]]:
    """Shipped recipes with their files."""
    return [{"name": name, "file": str(path)} for name, path in shipped_recipes().items()]


FORMS: dict[Form, str] = {
    "module": "networks in PyTorch",
    "onnx": "ONNX files",
    "plan": "plans built of ONNX files",
}
"""What engines run, in words."""


def engines() -> list[dict[str, str]]:
    """Engines with what they run, where, in which precisions, and what is installed of them."""
    return [
        {
            "name": e.name,
            "runs": FORMS[e.runs],
            "on": "a CUDA device" if e.device == "cuda" else "the CPU",
            "in": ", ".join(e.precisions),
            "version": version(e.package) or f"not installed: python -m pip install {e.package}",
        }
        for e in ENGINES.values()
    ]


MAX_IN_LINE = 4
"""Rows of more values take a line for each, under the name."""


def as_text(rows: list[dict[str, str]]) -> str:
    """Rows for a person: a line each, or a paragraph each where they hold much."""
    return "\n".join(_paragraph(row) if len(row) > MAX_IN_LINE else _line(row) for row in rows)


def _line(row: dict[str, str]) -> str:
    name, *rest = row.values()
    return f"{name:<24} {'; '.join(rest)}"


def _paragraph(row: dict[str, str]) -> str:
    name, *rest = row.items()
    return "\n".join([name[1], *(f"  {key:<8} {value}" for key, value in rest)])


LISTS: dict[str, Callable[[], list[dict[str, str]]]] = {
    "methods": methods,
    "data": sources,
    "models": models,
    "recipes": recipes,
    "engines": engines,
}
"""By the word that the command takes."""

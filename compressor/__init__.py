"""Train a vision network sparse, strip it physically, prove it, export it, time it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compressor.couplings.trace import trace
    from compressor.errors import CompressorError
    from compressor.package.load import load
    from compressor.package.verify import verify_package
    from compressor.pipeline import run_recipe
    from compressor.recipe import Recipe, load_recipe
    from compressor.strip.apply import apply
    from compressor.strip.find import find_couplings
    from compressor.strip.plan import StripPlan, make_plan
    from compressor.structure import Path, Structure

__all__ = [
    "CompressorError",
    "Path",
    "Recipe",
    "StripPlan",
    "Structure",
    "apply",
    "find_couplings",
    "load",
    "load_recipe",
    "make_plan",
    "run_recipe",
    "trace",
    "verify_package",
]

_HOMES = {
    "CompressorError": "compressor.errors",
    "Path": "compressor.structure",
    "Recipe": "compressor.recipe",
    "StripPlan": "compressor.strip.plan",
    "Structure": "compressor.structure",
    "apply": "compressor.strip.apply",
    "find_couplings": "compressor.strip.find",
    "load": "compressor.package.load",
    "load_recipe": "compressor.recipe",
    "make_plan": "compressor.strip.plan",
    "run_recipe": "compressor.pipeline",
    "trace": "compressor.couplings.trace",
    "verify_package": "compressor.package.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and ONNX take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'compressor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""Train a vision network sparse, strip it physically, prove it, export it, time it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compressor.api.cut import Stripped, strip_network
    from compressor.api.deliver import bench_networks, export_network
    from compressor.api.method import DessiLBI, horizon, make_method
    from compressor.api.pack import About, save
    from compressor.bench.timer import BenchSettings
    from compressor.couplings.trace import trace
    from compressor.errors import CompressorError
    from compressor.hub.hand_on import pull, push
    from compressor.package.description import Accuracy
    from compressor.package.load import load
    from compressor.package.verify import verify_package
    from compressor.pipeline import run_recipe
    from compressor.recipe import Recipe, load_recipe
    from compressor.sparsity.base import Horizon
    from compressor.sparsity.held import Held
    from compressor.sparsity.split_lbi import SplitLBISettings
    from compressor.strip.apply import apply
    from compressor.strip.certificate import Certificate, certify
    from compressor.strip.find import find_couplings
    from compressor.strip.plan import StripPlan, make_plan
    from compressor.strip.settings import StripSettings
    from compressor.structure import Path, Structure
    from compressor.train.norms import reestimate_norms

__all__ = [
    "About",
    "Accuracy",
    "BenchSettings",
    "Certificate",
    "CompressorError",
    "DessiLBI",
    "Held",
    "Horizon",
    "Path",
    "Recipe",
    "SplitLBISettings",
    "StripPlan",
    "StripSettings",
    "Stripped",
    "Structure",
    "apply",
    "bench_networks",
    "certify",
    "export_network",
    "find_couplings",
    "horizon",
    "load",
    "load_recipe",
    "make_method",
    "make_plan",
    "pull",
    "push",
    "reestimate_norms",
    "run_recipe",
    "save",
    "strip_network",
    "trace",
    "verify_package",
]

_HOMES = {
    "About": "compressor.api.pack",
    "Accuracy": "compressor.package.description",
    "BenchSettings": "compressor.bench.timer",
    "Certificate": "compressor.strip.certificate",
    "CompressorError": "compressor.errors",
    "DessiLBI": "compressor.api.method",
    "Held": "compressor.sparsity.held",
    "Horizon": "compressor.sparsity.base",
    "Path": "compressor.structure",
    "Recipe": "compressor.recipe",
    "SplitLBISettings": "compressor.sparsity.split_lbi",
    "StripPlan": "compressor.strip.plan",
    "StripSettings": "compressor.strip.settings",
    "Stripped": "compressor.api.cut",
    "Structure": "compressor.structure",
    "apply": "compressor.strip.apply",
    "bench_networks": "compressor.api.deliver",
    "certify": "compressor.strip.certificate",
    "export_network": "compressor.api.deliver",
    "find_couplings": "compressor.strip.find",
    "horizon": "compressor.api.method",
    "load": "compressor.package.load",
    "load_recipe": "compressor.recipe",
    "make_method": "compressor.api.method",
    "make_plan": "compressor.strip.plan",
    "pull": "compressor.hub.hand_on",
    "push": "compressor.hub.hand_on",
    "reestimate_norms": "compressor.train.norms",
    "run_recipe": "compressor.pipeline",
    "save": "compressor.api.pack",
    "strip_network": "compressor.api.cut",
    "trace": "compressor.couplings.trace",
    "verify_package": "compressor.package.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and ONNX take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'compressor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, so that they are found before they are imported."""
    return sorted({*globals(), *__all__})

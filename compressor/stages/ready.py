"""What this machine cannot do in the end, told before hours of training."""

from collections.abc import Callable, Container, Mapping

from compressor.bench.runner import import_engine
from compressor.bench.staircase import check_measurable
from compressor.engines import ENGINES
from compressor.export.engine_plans import check_buildable
from compressor.export.profiles import find_profile
from compressor.recipe import Recipe


def _target(recipe: Recipe) -> None:
    if recipe.strip.in_time:
        check_measurable(recipe.target)


def _ceiling(recipe: Recipe) -> None:
    if recipe.grow is not None and recipe.grow.ceiling_latency is not None:
        check_measurable(recipe.target)


def _measuring(recipe: Recipe) -> None:
    _installed({find_profile(name).measured_by for name in recipe.precision.profiles})


def _timing(recipe: Recipe) -> None:
    _installed(set(recipe.bench.engines))


def _installed(names: Container[str]) -> None:
    for name, engine in ENGINES.items():
        if name in names:
            import_engine(engine.module, engine.package)


def _plans(recipe: Recipe) -> None:
    check_buildable(recipe.tensorrt)


NEEDS: Mapping[str, tuple[Callable[[Recipe], None], ...]] = {
    "inspect": (_ceiling,),
    "train": (_ceiling,),
    "strip": (_target,),
    "export": (_measuring,),
    "verify": (_measuring,),
    "build": (_plans,),
    # A file is timed on the engine that it was measured with, if on any.
    "bench": (_timing, _measuring),
}
"""Stages that need more than PyTorch and ONNX Runtime -> what looks whether it is there."""


def check_here(recipe: Recipe, stages: Container[str] = tuple(NEEDS)) -> None:
    """Refuse a recipe of which some stages cannot be done on this machine.

    Args:
        recipe: What is to be done.
        stages: Those that are still to be done here.

    Raises:
        BudgetError: Its budget or its ceiling is one of time, and its target cannot be measured
            here.
        MissingExtra: An engine that times the networks, or measures a file in another precision,
            is not installed; or the engine of its plans is not, or a library behind that.
        ModelError: Its plans need a GPU that is not there, or a setting that their engine has not.
    """
    asked = (check for stage, checks in NEEDS.items() if stage in stages for check in checks)
    for check in dict.fromkeys(asked):
        check(recipe)

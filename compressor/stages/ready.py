"""What this machine cannot do in the end, told before hours of training."""

from compressor.bench.runner import import_engine
from compressor.bench.staircase import check_measurable
from compressor.engines import ENGINES
from compressor.export.plans import check_buildable
from compressor.export.profiles import find_profile
from compressor.recipe import Recipe


def check_here(recipe: Recipe) -> None:
    """Refuse a recipe whose last stages cannot be done on this machine.

    Raises:
        BudgetError: Its budget is one of time, and its target cannot be measured here.
        MissingExtra: An engine that times the networks, or measures a file in another precision,
            is not installed; or the engine of its plans is not, or a library behind that.
        ModelError: Its plans need a GPU that is not there, or a setting that their engine has not.
    """
    if recipe.strip.in_time:
        check_measurable(recipe.target)
    measuring = {find_profile(name).measured_by for name in recipe.precision.profiles}
    for name, engine in ENGINES.items():
        if name in recipe.bench.engines or name in measuring:
            import_engine(engine.module, engine.package)
    check_buildable(recipe.tensorrt)

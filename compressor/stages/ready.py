"""What this machine cannot do in the end, told before hours of training."""

from compressor.bench.runner import import_engine
from compressor.bench.staircase import check_measurable
from compressor.export.profiles import find_profile
from compressor.recipe import Recipe


def check_here(recipe: Recipe) -> None:
    """Refuse a recipe whose last stages cannot be done on this machine.

    Raises:
        BudgetError: Its budget is one of time, and its target cannot be measured here.
        MissingExtra: What measures a file in another precision is not installed.
    """
    if recipe.strip.in_time:
        check_measurable(recipe.target)
    for name in recipe.precision.profiles:
        if find_profile(name).measured_by == "openvino":
            import_engine("openvino", "openvino")

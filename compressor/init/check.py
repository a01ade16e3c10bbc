"""Whether the recipe that was written can be run here: its engines, and its budget."""

from compressor.console import Console
from compressor.init.draft import Draft
from compressor.recipe import Recipe
from compressor.stages.early import unranked
from compressor.stages.in_time import Measuring, check_floors
from compressor.stages.ready import check_here
from compressor.stages.widths import engine_multiple
from compressor.strip.budget import solve


def check_recipe_here(recipe: Recipe, draft: Draft, console: Console) -> None:
    """Refuse a recipe that a run on this machine would refuse, now or after its search.

    Args:
        recipe: As it was written.
        draft: What it was written from.
        console: Hears what is going on.

    Raises:
        BudgetError: Even the floors are above the budget, or its target cannot be measured here.
        MissingExtra: An engine that it needs is not installed.
    """
    check_here(recipe)
    model, cutting, shape = draft.network.model, draft.cutting, draft.data[1].image_shape
    multiple = engine_multiple(recipe.target).channels
    settings = recipe.strip.model_copy(update={"round_to": multiple})
    problem = unranked(model, cutting.couplings, cutting.cost, settings)
    if settings.in_time:
        console.say("init: timing what the budget leaves at least")
        check_floors(problem, Measuring.of(recipe, shape, console))
    else:
        everything = cutting.couplings.everything()
        solve(cutting.couplings, cutting.cost, problem.path, everything, settings)

"""Which key of a recipe a fault is about that was found while it was checked or run."""

import re
from collections.abc import Callable
from pathlib import Path

from compressor.errors import BudgetError, CompressorError, DataError, ModelError, RecipeError
from compressor.pipeline import STAGES, Where, finished_stages
from compressor.recipe import Recipe
from compressor.run import MANIFEST, Run
from compressor.stages.ready import check_here

Told = Callable[[str], str]
"""Puts before a fault where the key stands that it begins with."""


def data_key(recipe: Recipe, fault: str) -> str:
    """The key of what is wrong with the data."""
    for key in ("train_images", "classes"):
        if key in fault and getattr(recipe.data, key) is not None:
            return f"data.{key}"
    return "data.source" if recipe.data.path is None else "data.path"


def model_key(recipe: Recipe, fault: str) -> str:
    """The key of what is wrong with the network."""
    of_weights = recipe.model.weights is not None and Path(recipe.model.weights).name in fault
    return "model.weights" if of_weights else "model.factory"


def budget_key(recipe: Recipe, _fault: str) -> str:
    """The key of what is wrong with the budget."""
    return f"strip.{next(iter(recipe.strip.budget()), 'at_epoch')}"


def placed(line: str, key: str, told: Told) -> str:
    """``line`` with the place of the key that it names, or else of ``key``, if there is one."""
    first, *rest = re.split(r"[\s:]", line, maxsplit=1)[0].split(".")
    if rest and first in Recipe.model_fields:
        return told(line)
    return told(f"{key}: {line}") if key else line


def of_recipe(
    failure: CompressorError, recipe: Recipe, where: Where, told: Told
) -> RecipeError | None:
    """What ended a run, as the dry run tells it; None where it is not the recipe's.

    Args:
        failure: What ended it.
        recipe: What was run.
        where: Where and how.
        told: Says where in the recipe's file a fault lies.
    """
    find_key: Callable[[Recipe, str], str]
    if isinstance(failure, DataError):
        find_key = data_key
    elif isinstance(failure, BudgetError):
        find_key = budget_key
    elif isinstance(failure, ModelError) and not _of_others(failure, recipe, where):
        find_key = model_key
    else:
        return None
    lines = str(failure).splitlines()
    return RecipeError("\n".join(placed(line, find_key(recipe, line), told) for line in lines))


def _of_others(failure: ModelError, recipe: Recipe, where: Where) -> bool:
    """Whether it is about this machine, or about a file that was made of the network later."""
    if (where.out / MANIFEST).is_file():
        done = finished_stages(recipe, Run(where.out), where.model_folders)
        if STAGES[0].name in done:
            return True
    try:
        check_here(recipe)
    except CompressorError as found:
        return str(found) == str(failure)
    return False

"""``--dry-run`` of the commands that run a recipe; heavy imports live inside the function."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from compressor.pipeline import Where
    from compressor.recipe import Recipe


def print_dry_run(
    recipe: "Recipe", where: "Where", told: Callable[[str], str], *, as_json: bool
) -> None:
    """Print what the checks found, as a table or as JSON.

    Args:
        recipe: What would be run.
        where: Where and how.
        told: Says where in the recipe's file a fault lies.
        as_json: Print ``Findings.to_json``.

    Raises:
        RecipeError: The recipe's data, network or budget will not do.
        CheckError: The export or this machine will not; either has all faults, one line each.
    """
    from compressor.dry_run.dry import dry_run

    found = dry_run(recipe, where, told)
    click.echo(json.dumps(found.to_json(), indent=2) + "\n" if as_json else found.table(), nl=False)
    found.check()

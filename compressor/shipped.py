"""Recipes and models that come with the project; light, since shells ask for names at every tab."""

from pathlib import Path

from compressor.errors import RecipeError
from compressor.overrides import did_you_mean


def shipped(kind: str) -> Path:
    """Folder of the recipes or models that come with the project (``"recipes"``, ``"models"``)."""
    package = Path(__file__).parent
    inside = package / kind
    # In a wheel they lie inside the package, in a checkout beside it.
    return inside if inside.is_dir() else package.parent / kind


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with the project, by name."""
    return {path.stem: path for path in sorted(shipped("recipes").glob("*.toml"))}


def find_recipe(reference: str) -> Path:
    """File of a recipe given by path or by the name of a shipped one.

    Raises:
        RecipeError: There is none.
    """
    path = Path(reference)
    if path.is_file():
        return path
    if path.is_dir() and reference not in shipped_recipes():
        raise RecipeError(f"{reference} is a folder. Name the recipe's .toml file in it.")
    names = shipped_recipes()
    if reference in names:
        return names[reference]
    told = (
        f"{reference}: no such file, and no recipe of that name comes with compressor. "
        f"{did_you_mean(reference, names)}"
    ).rstrip()
    raise RecipeError(f"{told} There are {', '.join(names)}.")

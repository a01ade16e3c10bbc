"""A run that has been made, opened again: its directory, its recipe, where its files were."""

from dataclasses import dataclass
from pathlib import Path

from compressor.errors import RunError
from compressor.files import read_json
from compressor.pipeline import PLACES_FILE
from compressor.recipe import Recipe, check_recipe
from compressor.run import MANIFEST, Run


@dataclass(frozen=True)
class OpenedRun:
    """A run directory with what was written at its head.

    Attributes:
        run: The directory.
        recipe: What it was last run by.
        model_folders: Where the factory file of its network was looked for.
    """

    run: Run
    recipe: Recipe
    model_folders: tuple[Path, ...]


def open_run(folder: Path) -> OpenedRun:
    """The run in ``folder``; nothing is made where there is none.

    Raises:
        RunError: There is none, or its manifest is damaged.
        RecipeError: Its settings are not a recipe of this release.
    """
    settings = folder / "settings.json"
    if not (folder / MANIFEST).is_file() or not settings.is_file():
        raise RunError(f"{folder} is not a run directory. Name one that `compressor run` made.")
    recipe = check_recipe(read_json(settings), str(settings))
    return OpenedRun(Run(folder), recipe, _recorded_folders(folder))


def _recorded_folders(folder: Path) -> tuple[Path, ...]:
    places = folder / PLACES_FILE
    if not places.is_file():
        return (Path(),)
    return tuple(Path(place) for place in read_json(places)["model_folders"])

"""A slice: a run of another size that takes its search from one that has been made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressor.errors import RecipeError, RunError
from compressor.files import read_json
from compressor.overrides import set_value
from compressor.pipeline import PLACES_FILE, Where, run_recipe
from compressor.recipe import Recipe, check_recipe
from compressor.run import MANIFEST, Run
from compressor.structure import NEVER
from compressor.structure import Path as UnitsPath

SHARED_STAGES = ("inspect", "dense", "train")
"""What a slice takes over: nothing of it depends on the size."""

SIZES = ("keep_macs", "keep_params", "keep_latency", "latency_ms", "at_epoch")
"""Keys of ``strip`` that say how large a network is to be; one at a time."""

SEARCHED = ("seed", "model", "data", "task", "sparsity", "train", "stop", "grow", "ticket", "strip")
"""Sections of which a search depends on all, or on what holds layers, of ``strip``."""

EXAMPLE = "strip.order=entry"
"""Of an override, for messages."""


@dataclass(frozen=True)
class Size:
    """How large a slice is to be.

    Attributes:
        key: One of ``SIZES``.
        value: A share in (0, 1], milliseconds, or an epoch from 1.
    """

    key: str
    value: float

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.key}-{self.value:g}"


@dataclass(frozen=True)
class Source:
    """A run whose path is sliced.

    Attributes:
        run: Its directory.
        recipe: What it was made by.
        model_folders: Where its factory file was looked for.
        path: The order of its units.
    """

    run: Run
    recipe: Recipe
    model_folders: tuple[Path, ...]
    path: UnitsPath

    @classmethod
    def open(cls, folder: Path) -> "Source":
        """The run in ``folder``.

        Raises:
            RunError: There is none, its search is not done, or no unit entered on its path.
        """
        if not (folder / MANIFEST).is_file():
            raise RunError(f"{folder} is not a run directory. Name one that `compressor run` made.")
        run = Run(folder)
        recipe = check_recipe(read_json(folder / "settings.json"), str(folder / "settings.json"))
        path = UnitsPath.from_json(read_json(run.path("train", "path.json")))
        if path.last_entry == NEVER:
            raise RunError(
                f"{folder} has no path to slice: no unit ever entered with {path.method}, which "
                "ranks them once. Search with dessilbi, or run the recipe with the size as its "
                "budget."
            )
        return cls(run, recipe, recorded_folders(run), path)


def recorded_folders(run: Run) -> tuple[Path, ...]:
    """Where the factory file of a run's network was looked for."""
    places = run.folder / PLACES_FILE
    if not places.is_file():
        return (Path(),)
    return tuple(Path(folder) for folder in read_json(places)["model_folders"])


def sliced_recipe(
    recipe: Recipe, size: Size, tune_epochs: int, overrides: Sequence[str] = ()
) -> Recipe:
    """The recipe of a run for one size of it.

    The dense network keeps its number of epochs, so that it is the one that was trained.

    Args:
        recipe: Of the run.
        size: In place of its budget.
        tune_epochs: In place of its own; 0 re-estimates norm statistics alone.
        overrides: ``section.key=value`` each.

    Raises:
        RecipeError: The size or an override is wrong.
    """
    values = recipe.model_dump(mode="json")
    values["name"] = f"{recipe.name}-{size.name}".replace("_", "-")
    values["dense"]["epochs"] = recipe.dense_settings().epochs
    values["tune"]["epochs"] = tune_epochs
    if recipe.stop is not None:
        # Where the search was to end hangs on the run's own budget, not on that of the slice.
        values["stop"] = recipe.stop.with_budget(recipe.strip).model_dump(mode="json")
    values["strip"] |= dict.fromkeys(SIZES) | {
        size.key: int(size.value) if size.key == "at_epoch" else size.value
    }
    faults = [fault for override in overrides if (fault := set_value(values, override, EXAMPLE))]
    if faults:
        raise RecipeError("\n".join(faults))
    return check_recipe(values, f"{size.key} = {size.value:g}")


def slice_run(source: Source, recipe: Recipe, where: Where) -> Run:
    """Run what follows the search of ``source`` by another recipe of the same search.

    Raises:
        RunError: The recipe would search anew, or ``source`` is not whole.
        CompressorError: Whatever a stage finds wrong.
    """
    check_same_search(source.recipe, recipe)
    run = Run(where.out)
    run.take_over(source.run, SHARED_STAGES)
    return run_recipe(recipe, replace(where, model_folders=source.model_folders))


def check_same_search(old: Recipe, new: Recipe) -> None:
    """Refuse a recipe that changes what a slice takes over.

    Raises:
        RunError: It does; the message names the first section that differs.
    """
    for name in SEARCHED:
        if _searched(old, name) != _searched(new, name):
            raise RunError(
                f"{name} is not what the run was searched with, and a slice does not search again. "
                "Leave it out, or run the changed recipe."
            )
    if old.dense_settings() != new.dense_settings():
        raise RunError(
            "dense is not what the run's dense network was trained with, and a slice does not "
            "train it again. Leave it out, or run the changed recipe."
        )


def _searched(recipe: Recipe, section: str) -> Any:
    """What a search depends on in one section."""
    values = getattr(recipe, section)
    if section == "strip":
        return values.keep, values.freeze, values.engine, values.heads
    if section == "ticket":
        return values.epoch
    if section == "stop" and values is not None:
        return values.with_budget(recipe.strip)
    return values

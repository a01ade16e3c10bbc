"""A slice: a run of another size that takes its search from one that has been made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressor.errors import BudgetError, RecipeError, RunError
from compressor.files import read_json
from compressor.opened import open_run
from compressor.overrides import set_value
from compressor.pipeline import Where, finished_stages, run_recipe
from compressor.recipe import Recipe, check_recipe
from compressor.run import Run
from compressor.strip.target import TargetSettings
from compressor.structure import NEVER, Structure
from compressor.structure import Path as UnitsPath

SHARED_STAGES = ("inspect", "dense", "train")
"""What a slice takes over: nothing of it depends on the size."""

TRAINED = ("dense", "train")
"""What of it a slice must never do again; ``inspect`` is quick, and follows ``export``."""

SIZES = ("keep_macs", "keep_params", "keep_latency", "latency_ms", "at_epoch")
"""Keys of ``strip`` that say how large a network is to be; one at a time."""

TIMES = ("keep_latency", "latency_ms")
"""Those that are measured."""

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
        opened = open_run(folder)
        path = UnitsPath.from_json(read_json(opened.run.path("train", "path.json")))
        if path.last_entry == NEVER:
            told = _without_entries(path.method, opened.recipe)
            raise RunError(f"{folder} has no path to slice: {told}")
        return cls(opened.run, opened.recipe, opened.model_folders, path)

    @property
    def grown_share(self) -> float:
        """Share of the full network's MACs that the search trained; 1 where it did not grow."""
        if self.recipe.grow is None:
            return 1.0
        share: float = read_json(self.run.path("train", FILM))["rounds"][-1]["macs_share"]
        return share


FILM = "film.json"
"""Of a search that grew: a picture of its widths after each round."""


def _without_entries(method: str, recipe: Recipe) -> str:
    """Why no unit entered, and what to do."""
    budget = "or run the recipe with the size as its budget."
    if method != "dessilbi":
        return (
            f"no unit ever entered with {method}, which ranks them once. Search with dessilbi, "
            f"{budget}"
        )
    level = getattr(recipe.sparsity, "level", "unit")
    if level != "unit":
        return f'dessilbi at level {level} has no path of units. Search at level "unit", {budget}'
    return (
        f"no unit had entered when the search ended, after {recipe.train.epochs} epochs. Search "
        f"for longer, {budget}"
    )


def sliced_recipe(
    recipe: Recipe, size: Size, tune_epochs: int, overrides: Sequence[str] = ()
) -> Recipe:
    """The recipe of a run for one size of it.

    The dense network keeps its number of epochs, so that it is the one that was trained. Settings
    of the target that only a budget in time reads go with such a budget.

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
    if size.key not in TIMES:
        values["target"] |= untimed_target()
    faults = [fault for override in overrides if (fault := set_value(values, override, EXAMPLE))]
    if faults:
        raise RecipeError("\n".join(faults))
    return check_recipe(values, f"{size.key} = {size.value:g}")


def untimed_target() -> dict[str, Any]:
    """Settings of the target that nothing but a budget in time may name, as they are without."""
    return {key: TargetSettings.model_fields[key].default for key in ("batch_size", "num_threads")}


def slice_run(source: Source, recipe: Recipe, where: Where) -> Run:
    """Run what follows the search of ``source`` by another recipe of the same search.

    Raises:
        RunError: The recipe would search anew, or ``source`` is not whole.
        BudgetError: The size is more than was grown.
        CompressorError: Whatever a stage finds wrong.
    """
    check_same_search(source.recipe, recipe)
    _check_not_again(source, recipe)
    _check_grown(source, recipe)
    run = Run(where.out)
    run.take_over(source.run, SHARED_STAGES)
    made = run_recipe(recipe, replace(where, model_folders=source.model_folders))
    if number := _never_grown(made, recipe):
        where.console.warn(
            f"{made.folder}: {number} units of this size were never grown, so the search has not "
            "trained them. Tune it (--tune), or ask for another size."
        )
    return made


def _never_grown(made: Run, recipe: Recipe) -> int:
    """Units that a slice keeps and the network never grew: widths that fill a budget may be so."""
    if recipe.grow is None or "strip" not in made.seconds():
        return 0
    grown, kept = (
        Structure.from_json(read_json(made.path(stage, "structure.json"))).keep
        for stage in ("train", "strip")
    )
    return sum(int((units & ~grown[name]).sum()) for name, units in kept.items())


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


def _check_not_again(source: Source, recipe: Recipe) -> None:
    """Refuse what would train anew although the recipes agree: a file was edited, say.

    Raises:
        RunError: A stage that was done would be done again; the message says why.
    """
    folder, done = source.run.folder, source.run.seconds()
    same = finished_stages(recipe, source.run, source.model_folders)
    for stage in TRAINED:
        if stage not in done or stage in same:
            continue
        raise RunError(
            f"{folder}: stage {stage} would be done again, and a slice does not train what it "
            f"takes over: {_what_changed(source, stage)}"
        )


def _what_changed(source: Source, stage: str) -> str:
    if stage in finished_stages(source.recipe, source.run, source.model_folders):
        return "it depends on a setting that was overridden. Leave that out."
    return (
        "the file of its network, its weights or its data, or its settings.json, is not what it "
        "was then. Put it back, or run the recipe again."
    )


def _check_grown(source: Source, recipe: Recipe) -> None:
    """Refuse a share of MACs that only units which never existed could fill.

    Raises:
        BudgetError: It is more than the grown network has.
    """
    asked, grown = recipe.strip.keep_macs, source.grown_share
    if asked is not None and asked > grown:
        raise BudgetError(
            f"keep_macs = {asked:g}: the grown network has {grown:.4f} of the MACs, and what it "
            "did not grow was never trained. Ask for no more, or grow on."
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

"""A transfer: every row of it, for every seed, each a run directory, and the table of all."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressor.console import Console
from compressor.context import Shared
from compressor.errors import RecipeError
from compressor.files import write_json, write_text
from compressor.pipeline import Where, run_recipe
from compressor.recipe import Recipe, check_recipe
from compressor.run import Run
from compressor.sizes.slices import untimed_target
from compressor.sparsity.catalog import METHODS
from compressor.train.device import Device
from compressor.transfer.fit import check_same_network
from compressor.transfer.origin import Origin
from compressor.transfer.rows import ROWS, Row, given
from compressor.transfer.table import as_text, notes_of, rows_of

LAST_STAGE = "package"

SHARED_STAGES = ("inspect", "dense")
"""What all rows of one seed have in common: made by the first, taken over by the others."""

TABLE_FILES = ("transfer.json", "transfer.md")

OF_SEARCHES = ("grow", "stop", "ticket")
"""Sections that say how a search ends and what is taken of it; here there is none."""


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer is to be.

    Attributes:
        out: Its directory.
        recipe: Of the new task.
        num_seeds: Of the new task's training, from the recipe's own seed on; the run is one.
        model_folders: Where the factory file of the recipe's network is looked for.
    """

    out: Path
    recipe: Recipe
    num_seeds: int = 1
    model_folders: tuple[Path, ...] = (Path(),)


def make_transfer(
    origin: Origin, plan: TransferPlan, console: Console, device: Device = "auto"
) -> dict[str, Any]:
    """Make every row for every seed, and the record of all; what is done is not done again.

    Whether the run fits the new task is found out before anything is trained.

    Returns:
        What ``transfer.json`` holds: ``run`` and ``recipe``, from where to where; ``epochs`` of
        every row; ``seeds``; ``notes``; and ``rows``, of ``rows_of``.

    Raises:
        RecipeError: The recipe trains nothing.
        ModelError: Its network is not that of the run, or cannot take its images.
        StructureError: The structure or a tensor does not fit; the message names it.
        CompressorError: Whatever a stage finds wrong.
    """
    check_same_network(origin.recipe.model, plan.recipe.model)
    making = _Making(origin, plan, console, device)
    if origin.has_masks:
        console.warn(
            f"{origin.run.folder} also left out single weights. A transfer takes units only, so "
            "these weights may grow again."
        )
    seeds = range(plan.recipe.seed, plan.recipe.seed + plan.num_seeds)
    made = {seed: making.rows(seed) for seed in seeds}
    recipe = plan.recipe
    record = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "run": str(origin.run.folder),
        "found_by": origin.method,
        "recipe": recipe.name,
        "data": {
            "from": origin.recipe.data.model_dump(mode="json"),
            "to": recipe.data.model_dump(mode="json"),
        },
        "epochs": recipe.tune.epochs,
        "teacher_weight": recipe.tune.teacher_weight,
        "seeds": list(seeds),
        "notes": notes_of(made),
        "rows": rows_of(made),
    }
    write_json(plan.out / TABLE_FILES[0], record)
    write_text(plan.out / TABLE_FILES[1], as_text(record))
    return record


def transferred_recipe(origin: Origin, recipe: Recipe, seed: int, row: Row) -> Recipe:
    """The recipe of one row: the new task, with what the run says of structure.

    The dense network gets as many epochs as every other row. Nothing is solved: no budget, and
    widths neither rounded nor raised, so that the structure is cut as it is given.

    Raises:
        RecipeError: The recipe trains nothing.
    """
    if not recipe.tune.epochs:
        raise RecipeError(
            f"{recipe.name}: tune.epochs = 0, so a new head would never be trained. Give one or "
            "more; every row of the transfer gets as many."
        )
    old, values = origin.recipe, recipe.model_dump(mode="json")
    values = {name: value for name, value in values.items() if name not in OF_SEARCHES}
    values |= {"name": f"{recipe.name}-{row.name}", "seed": seed}
    values["dense"]["epochs"] = recipe.tune.epochs
    held = old.strip.model_dump(mode="json", include={"keep", "freeze", "engine", "depth", "heads"})
    values["strip"] = {"round_to": 1, "floor_share": 0.0, **held}
    values["target"] |= untimed_target()
    # How the structure was found; a method that needs a budget for it is checked without.
    searched = old.model_dump(mode="json", include={"sparsity", "train"})
    has_support = METHODS[old.sparsity.method].has_support(old.sparsity)
    values |= searched if has_support else {"sparsity": {"method": "dessilbi"}}
    checked = check_recipe(values, f"{recipe.name}, for a transfer")
    return checked.model_copy(update={"sparsity": old.sparsity, "train": old.train})


@dataclass(frozen=True)
class _Making:
    """What all rows have in common while they are made."""

    origin: Origin
    plan: TransferPlan
    console: Console
    device: Device

    def rows(self, seed: int) -> dict[str, Run]:
        """The runs of one seed, by the names of their rows."""
        shared, runs = Shared(), dict[str, Run]()
        for row in ROWS.values():
            runs[row.name] = self._row(row, seed, shared, list(runs.values()))
        return runs

    def _row(self, row: Row, seed: int, shared: Shared, before: Sequence[Run]) -> Run:
        recipe = transferred_recipe(self.origin, self.plan.recipe, seed, row)
        out = self.plan.out / f"seed-{seed}" / row.name
        self.console.say(f"transfer: {row.name}, seed {seed}")
        if before:
            Run(out).take_over(before[0], SHARED_STAGES)
        folders = dict.fromkeys((*self.plan.model_folders, *self.origin.model_folders))
        where = Where(
            out,
            self.console,
            self.device,
            resume=True,
            model_folders=tuple(folders),
            until=LAST_STAGE,
            shared=shared,
        )
        return run_recipe(recipe, replace(where, given=given(row, self.origin)))

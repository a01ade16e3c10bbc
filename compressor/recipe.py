"""Recipes: one TOML file that says everything about a run, checked whole before anything starts."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from compressor.bench.timer import BenchSettings
from compressor.data.catalog import DataSettings
from compressor.errors import RecipeError
from compressor.export.engine_plans import PlanSettings, plan_faults
from compressor.export.onnx import ExportSettings
from compressor.export.precision import PrecisionSettings
from compressor.grow.settings import GrowSettings, grow_faults
from compressor.overrides import key_of, set_value
from compressor.recipe_faults import Origin, faults_of, several
from compressor.settings import Settings
from compressor.shipped import find_recipe as find_recipe
from compressor.shipped import shipped as shipped
from compressor.shipped import shipped_recipes as shipped_recipes
from compressor.sparsity.catalog import METHODS, SparsitySettings
from compressor.strip.budget import StripSettings
from compressor.strip.target import TargetSettings
from compressor.tasks.classification import TaskSettings
from compressor.tasks.model import ModelSettings
from compressor.toml_file import read_toml
from compressor.train.settings import (
    DenseTrainSettings,
    SearchSettings,
    TrainSettings,
    TuneSettings,
)
from compressor.train.stop_settings import StopSettings, stop_faults
from compressor.train.ticket import TicketSettings, ticket_faults

EXAMPLE = "train.epochs=3"
"""Of an override, for messages."""

MAX_SEED = 2**63 - 1
"""Larger ones torch does not take."""


class Recipe(Settings):
    """Everything about a run except where it runs and where its files go."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Short name, for folders and reports."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the weights, the validation split, the order of images and every draw."""
    model: ModelSettings
    """Which network, and where its weights come from."""
    data: DataSettings
    """Which images, and how many of them."""
    task: TaskSettings = TaskSettings()
    """How training images are shown and how errors are weighed."""
    sparsity: SparsitySettings
    """The method of the search, by its name under ``method``, and its settings."""
    dense: DenseTrainSettings = DenseTrainSettings()
    """The dense reference and teacher."""
    train: SearchSettings
    """The search: sparse training that makes the path."""
    stop: StopSettings | None = None
    """What ends the search before its last epoch; None lets it go on to the end."""
    grow: GrowSettings | None = None
    """Growing from narrow to wide in place of a search at full width; None searches."""
    target: TargetSettings = TargetSettings()
    """What the slim network is to run on."""
    strip: StripSettings = StripSettings()
    """What the slim network may cost."""
    ticket: TicketSettings = TicketSettings()
    """Which weights the slim network is tuned from."""
    tune: TuneSettings
    """Training of the slim network, with the dense one as teacher."""
    export: ExportSettings = ExportSettings()
    """How networks are written as ONNX."""
    precision: PrecisionSettings = PrecisionSettings()
    """In which other precisions the slim network is written."""
    tensorrt: PlanSettings = PlanSettings()
    """Which TensorRT plans are built of these files."""
    bench: BenchSettings = BenchSettings()
    """How latency is measured."""

    @model_validator(mode="after")
    def _hangs_together(self) -> "Recipe":
        faults = [
            *_nothing_to_remove(self.sparsity, self.strip),
            *_untrained(self),
            *_cannot_grow(self),
            *_cannot_stop(self),
            *_wrong_ticket(self),
            *_without_effect(self),
            *plan_faults(self.tensorrt, self.precision, self.bench),
        ]
        if faults:
            raise several(faults)
        return self

    def dense_settings(self) -> TrainSettings:
        """The dense reference's settings with its number of epochs."""
        epochs = self.dense.epochs or self.train.epochs + self.tune.epochs
        return TrainSettings(epochs=epochs, **self.dense.model_dump(exclude={"epochs"}))


def _nothing_to_remove(sparsity: SparsitySettings, strip: StripSettings) -> list[str]:
    """What to do about a run that has neither a support nor a budget; empty where it has one."""
    if strip.budget() or METHODS[sparsity.method].has_support(sparsity):
        return []
    return [
        f"the recipe: {sparsity.method} has no support of its own, so without a budget nothing "
        "would be removed; give strip.keep_macs, keep_params, keep_latency or latency_ms."
    ]


def _cannot_grow(recipe: "Recipe") -> list[str]:
    """What stands against growing, a line each; nothing where the recipe does not grow."""
    if recipe.grow is None:
        return []
    return grow_faults(recipe.grow, recipe.sparsity, recipe.train, recipe.model)


def _cannot_stop(recipe: "Recipe") -> list[str]:
    """What stands against ending the search early, a line each; nothing where no rule is given."""
    if recipe.stop is None:
        return []
    if recipe.grow is not None:
        return ["stop: growing has a rule of its own. Write grow.patience, or leave [stop] out."]
    return stop_faults(recipe.stop, recipe.sparsity, recipe.strip, recipe.train.epochs)


def _wrong_ticket(recipe: "Recipe") -> list[str]:
    """What stands against tuning from the weights that the recipe names, a line each."""
    epochs, tune_epochs = recipe.train.epochs, recipe.tune.epochs
    return ticket_faults(recipe.ticket, epochs, tune_epochs, grows=recipe.grow is not None)


def _without_effect(recipe: "Recipe") -> list[str]:
    """Settings of the target that only a budget in time reads, a line for each."""
    if recipe.strip.in_time:
        return []
    return [
        f"target.{key} = {found}: only a budget in time depends on it, and there is none. Leave it "
        "out, or give strip.keep_latency."
        for key in ("batch_size", "num_threads")
        if (found := getattr(recipe.target, key)) != TargetSettings.model_fields[key].default
    ]


def _untrained(recipe: Recipe) -> list[str]:
    """What the method needs of ``train`` with its settings and has not got, a line for each key."""
    method = recipe.sparsity.method
    return [
        f"train.{key} = {json.dumps(found)}: {method} as set under sparsity needs "
        f"{json.dumps(needed)}. Write train.{key} = {json.dumps(needed)}."
        for key, needed in METHODS[method].train_needs(recipe.sparsity).items()
        if (found := getattr(recipe.train, key)) != needed
    ]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: TOML file.
        overrides: ``section.key=value`` each, the value in TOML; bare words are text.

    Raises:
        RecipeError: All faults at once, one line each.
    """
    origin, values = _read(path, overrides)
    faults = [fault for override in overrides if (fault := set_value(values, override, EXAMPLE))]
    try:
        recipe = _checked(values, origin.told)
    except RecipeError as failure:
        raise RecipeError("\n".join([*faults, str(failure)])) from None
    if faults:
        raise RecipeError("\n".join(faults))
    return recipe


def recipe_origin(path: Path, overrides: Sequence[str] = ()) -> Origin:
    """Where the settings of a recipe that was loaded stand, for what is found wrong later."""
    return _read(path, overrides)[0]


def check_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """The recipe made of plain values; ``source`` names them in messages.

    Raises:
        RecipeError: All faults at once, one line each.
    """
    return _checked(values, Origin(source).told)


def _read(path: Path, overrides: Sequence[str]) -> tuple[Origin, dict[str, Any]]:
    file = read_toml(path)
    return Origin(str(path), file.lines, tuple(map(key_of, overrides))), file.values


def _checked(values: Mapping[str, Any], told: Callable[[str], str]) -> Recipe:
    try:
        # Through JSON, whose lists may stand for tuples even where types are strict.
        return Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as failure:
        raise RecipeError("\n".join(map(told, faults_of(failure, Recipe)))) from None

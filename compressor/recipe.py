"""Recipes: one TOML file that says everything about a run, checked whole before anything starts."""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from compressor.bench.timer import BenchSettings
from compressor.data.catalog import DataSettings
from compressor.errors import RecipeError
from compressor.export.onnx import ExportSettings
from compressor.settings import Settings
from compressor.sparsity.catalog import METHODS, SparsitySettings
from compressor.strip.budget import StripSettings
from compressor.tasks.classification import TaskSettings
from compressor.tasks.model import ModelSettings
from compressor.train.settings import DenseTrainSettings, TrainSettings, TuneSettings


class Recipe(Settings):
    """Everything about a run except where it runs and where its files go."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Short name, for folders and reports."""
    seed: int = Field(default=0, ge=0)
    """Seed of the weights, the validation split, the order of images and every draw."""
    model: ModelSettings
    data: DataSettings
    task: TaskSettings = TaskSettings()
    sparsity: SparsitySettings
    dense: DenseTrainSettings = DenseTrainSettings()
    """The dense reference and teacher; it is trained for ``train.epochs + tune.epochs``."""
    train: TrainSettings
    """The search: sparse training that makes the path."""
    strip: StripSettings = StripSettings()
    tune: TuneSettings
    export: ExportSettings = ExportSettings()
    bench: BenchSettings = BenchSettings()

    def dense_settings(self) -> TrainSettings:
        """The dense reference's settings with its number of epochs."""
        epochs = self.train.epochs + self.tune.epochs
        return TrainSettings(epochs=epochs, **self.dense.model_dump())


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
    if Path(reference).is_file():
        return Path(reference)
    names = shipped_recipes()
    if reference in names:
        return names[reference]
    near = difflib.get_close_matches(reference, names, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise RecipeError(
        f"{reference}: no such file, and no recipe of that name comes with compressor. "
        f"{hint}There are {', '.join(names)}."
    )


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: TOML file.
        overrides: ``section.key=value`` each, the value in TOML; bare words are text.

    Raises:
        RecipeError: All faults at once, one line each.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise RecipeError(f"{path} is not TOML: {failure}. Mend the line it names.") from failure
    except OSError as failure:
        raise RecipeError(f"{path} cannot be read: {failure.strerror}.") from failure
    for override in overrides:
        _set(values, override)
    return check_recipe(values, str(path))


def check_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """The recipe made of plain values; ``source`` names them in messages.

    Raises:
        RecipeError: All faults at once, one line each.
    """
    try:
        # Through JSON, whose lists may stand for tuples even where types are strict.
        return Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as failure:
        faults = [_fault(error) for error in failure.errors()]
        raise RecipeError("\n".join(f"{source}: {fault}" for fault in faults)) from None


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise RecipeError(f"--set {override}: write section.key=value, such as train.epochs=3.")
    section: Any = values
    for name in names[:-1]:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override}: {name} is a value, not a section.")
    section[names[-1]] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fault(error: ErrorDetails) -> str:
    """One line: where, what is wrong with its value, what to do."""
    place = _without_tag([str(part) for part in error["loc"]])
    where = ".".join(place) or "the recipe"
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: there is no such key. {_nearest(place)}"
        case "missing":
            return f"{where}: the key is missing. Add it."
        case "union_tag_not_found":
            return f"{where}.method: the key is missing. Choose one of {', '.join(METHODS)}."
        case "union_tag_invalid":
            found = error["input"]["method"]
            return f"{where}.method: {found!r} is not a method. {_near(str(found), METHODS)}"
        case "value_error":
            return f"{where}: {error['msg'].removeprefix('Value error, ')}."
        case _:
            given = json.dumps(error["input"], default=str)
            return f"{where} = {given}: {error['msg'].lower()}."


def _without_tag(place: list[str]) -> list[str]:
    """Drop the method's name that a union puts into the place."""
    tagged = len(place) > 1 and place[0] == "sparsity" and place[1] in METHODS
    return [place[0], *place[2:]] if tagged else place


def _nearest(place: list[str]) -> str:
    return _near(place[-1], _keys_of(place[:-1]))


def _near(word: str, words: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(words)}."


def _keys_of(section: list[str]) -> list[str]:
    """Keys that a section knows; for the method's own section those of all methods."""
    if section == ["sparsity"]:
        return sorted({key for m in METHODS.values() for key in m.settings.model_fields})
    model: Any = Recipe
    for name in section:
        field = model.model_fields[name].annotation
        model = next((t for t in (field, *get_args(field)) if hasattr(t, "model_fields")), None)
        if model is None:
            return []
    return list(model.model_fields)

"""What the key of a stage is made of, beside the stages that it is made from.

A setting that a stage reads outside its own sections comes in only where the stage does read it,
and where it has a value that changes something: so a release that reads one more leaves the keys of
runs that were made before as they were.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from compressor.files import fingerprint, sha256
from compressor.recipe import Recipe, shipped
from compressor.strip.settings import StripSettings
from compressor.tasks.model import find_file
from compressor.train.ticket import DENSE, KEEP

COUPLINGS_OF = ("inspect", "train")
"""Stages that work on the couplings; what may not be cut is not searched either."""


def settings_of(stage: str, sections: Collection[str], recipe: Recipe) -> dict[str, Any]:
    """What a stage depends on in a recipe.

    Args:
        stage: Its name.
        sections: Those of the recipe that it depends on, beside seed, model and data.
        recipe: The whole recipe.
    """
    found = recipe.model_dump(mode="json", include={"seed", "model", "data", *sections})
    if "dense" in sections:
        # Its epochs may be those of the search and of tuning.
        found["dense"] = recipe.dense_settings().model_dump(mode="json")
    if stage in COUPLINGS_OF:
        found |= _of_couplings(recipe.strip)
    more = {"inspect": _of_inspect, "train": _of_train, "strip": _of_strip}.get(stage)
    return found | (more(recipe) if more else {})


def _of_couplings(strip: StripSettings) -> dict[str, Any]:
    held = {"strip.held": [strip.keep, strip.freeze, strip.engine]}
    return held | _unless_default(strip, "heads")


def _of_inspect(recipe: Recipe) -> dict[str, Any]:
    # Branches change no coupling, so that a search serves both depths; inspect lists them.
    found: dict[str, Any] = {"strip.depth": recipe.strip.depth}
    if recipe.tune.features:
        found["tune.features"] = list(recipe.tune.features)
    return found | _of_growing(recipe)


def _of_train(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if recipe.ticket.epoch is not None:
        found["ticket"] = recipe.ticket.epoch
    if recipe.stop is not None:
        found["stop"] = recipe.stop.with_budget(recipe.strip).model_dump(mode="json")
        if recipe.stop.rule == "accuracy":
            # Couplings of a branch that may go may be empty.
            found |= _unless_default(recipe.strip, "depth")
    return found | _of_growing(recipe)


def _of_growing(recipe: Recipe) -> dict[str, Any]:
    if recipe.grow is None:
        return {}
    found = {
        "grow": recipe.grow.model_dump(mode="json"),
        "steps": recipe.strip.round_to,
        "target": recipe.target.model_dump(mode="json"),
        **_unless_default(recipe.strip, "floor_share"),
    }
    # Networks are exported to be timed.
    return found | ({} if recipe.grow.ceiling_latency is None else {"export": recipe.export.opset})


def _of_strip(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if recipe.ticket.weights != KEEP:
        found["ticket"] = recipe.ticket.weights
    # Networks are exported to be timed.
    return found | ({"export": recipe.export.opset} if recipe.strip.in_time else {})


def _unless_default(strip: StripSettings, name: str) -> dict[str, Any]:
    value = getattr(strip, name)
    return {} if value == StripSettings.model_fields[name].default else {f"strip.{name}": value}


def also_from(stage: str, recipe: Recipe) -> tuple[str, ...]:
    """Stages whose files a stage reads for this recipe alone."""
    return ("dense",) if (stage, recipe.ticket.weights) == ("strip", DENSE) else ()


def inputs_of(recipe: Recipe, model_folders: tuple[Path, ...]) -> dict[str, str]:
    """Fingerprints of the user's files that a recipe names: network, weights and data."""
    folders = (*model_folders, shipped("models").parent)
    factory = recipe.model.factory.rpartition(":")[0]
    places = {
        "factory": [folder / factory for folder in folders if factory.endswith(".py")],
        "weights": [find_file(recipe.model.weights, folders)] if recipe.model.weights else [],
        "data": [Path(recipe.data.path).expanduser()] if recipe.data.path else [],
    }
    found = {name: next((p for p in some if p.exists()), None) for name, some in places.items()}
    return {name: _content(path) for name, path in found.items() if path is not None}


def _content(path: Path) -> str:
    """Fingerprint of a file's bytes, or of the names and sizes of the files in a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint([[str(file.relative_to(path)), file.stat().st_size] for file in files])

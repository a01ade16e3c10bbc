"""The model card: what a package says of its network, first to the model hub and then to people.

The front matter is YAML as huggingface.co reads it. Its values are written as JSON, which is YAML
too and needs no rules of quoting.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compressor.package.description import Description
from compressor.strip.plan import StripPlan

LIBRARY = "compressor"
TASK = "image-classification"
TAGS = (TASK, "pruning", "structured-pruning", "onnx", "pytorch")

NOT_SAID = "not said"

SIZES = (
    ("parameters", "params"),
    ("multiply-accumulates an image", "macs"),
    ("bytes of weights", "bytes"),
)
"""Of both networks, and where the description has them."""

LIMITS = """\
## Limits

* It knows the classes and the preprocessing below, and gives some class for any other image too.
* {accuracy}
* The certificate says that cutting changed nothing but rounding. It says nothing of what the search
  and the tuning changed: compare the accuracies for that.
* Times are of one machine and its versions; measure on yours before you rely on them.
"""

MEASURED = """\
Accuracy is of test images from the same source as the training images{classes}.
  Nothing was measured of pictures of another origin, of disturbed ones, or of groups of people."""
OF_CLASSES = ";\n  the report of the run has it for each class"
OF_NOBODY = """\
Its accuracy is not said here. Measure it on test images of your own before you rely on it."""
"""What the limits say of accuracy that was measured, in a run also class by class; and of none."""


@dataclass(frozen=True)
class Records:
    """What a package tells of its making, as JSON values; ``latency`` as of the stage ``bench``."""

    certificate: Mapping[str, Any]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    latency: Mapping[str, Any] | None = None


def card(description: Description, plan: StripPlan, records: Records) -> str:
    """Front matter and story: network, data, training, sizes, certificate, latency, limits.

    Args:
        description: Of the package.
        plan: What was cut.
        records: What is told of its making. Of data and training that the description leaves out
            the recipe is asked.
    """
    sections = (
        front_matter(description, records.recipe),
        _what(description),
        _sizes(description),
        _making(description, plan, records.recipe),
        _certificate(records.certificate),
        _latency(records.latency, records.environment),
        LIMITS.format(accuracy=_accuracy(description, records.recipe)),
    )
    return "\n".join(sections)


def _accuracy(description: Description, recipe: Mapping[str, Any]) -> str:
    if description.accuracy is None:
        return OF_NOBODY
    return MEASURED.format(classes=OF_CLASSES if recipe else "")


def front_matter(description: Description, recipe: Mapping[str, Any]) -> str:
    """What the hub reads, between its two lines of dashes."""
    method = recipe.get("sparsity", {}).get("method")
    fields: dict[str, Any] = {
        "license": description.license,
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "tags": [*TAGS, *([method] if method else [])],
        "metrics": ["accuracy"],
    }
    if description.accuracy is not None:
        data = _data(description, recipe)
        result = {
            "task": {"type": TASK},
            "dataset": {"name": data, "type": data},
            "metrics": [{"type": "accuracy", "value": description.accuracy.slim}],
        }
        fields["model-index"] = [{"name": description.name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _what(description: Description) -> str:
    model, shape = description.model, description.preprocessing.image_shape
    given = ", ".join(f"{name} = {value}" for name, value in model.arguments.items())
    arguments = f" ({given})" if given else ""
    return (
        f"# {description.name}, slim\n\n"
        f"`{model.factory}`{arguments} without the units that it can do without. It sorts images "
        f"of {shape[0]} x {shape[1]} x {shape[2]} (channels, height, width) into "
        f"{len(description.labels)} classes.\n"
    )


def _sizes(description: Description) -> str:
    dense, slim = description.dense, description.counts
    rows = [
        _row(word, None if dense is None else getattr(dense, field), getattr(slim, field))
        for word, field in SIZES
    ]
    accuracy = description.accuracy
    if accuracy is None:
        rows.append(f"| test accuracy | {NOT_SAID} | {NOT_SAID} | |")
    else:
        rows.append(
            f"| right of {accuracy.test_images:,} test images | {accuracy.dense:.2%} "
            f"| {accuracy.slim:.2%} | {accuracy.slim - accuracy.dense:+.2%} |"
        )
    return "\n".join(["| | dense | slim | |", "| --- | --: | --: | --: |", *rows, ""])


def _row(word: str, dense: int | None, slim: int) -> str:
    if dense is None:
        return f"| {word} | {NOT_SAID} | {slim:,} | |"
    return f"| {word} | {dense:,} | {slim:,} | {slim / dense:.1%} |"


def _making(description: Description, plan: StripPlan, recipe: Mapping[str, Any]) -> str:
    kept = sum(width.kept for width in plan.widths)
    units = sum(width.units for width in plan.widths)
    lines = [
        "## How it was made",
        "",
        f"* Data: {_data(description, recipe)}.",
        f"* Training: {description.training or _training(recipe)}.",
        f"* Cut: {kept} of {units} units stay in {len(plan.widths)} couplings; `plan.json` has them"
        " one by one.",
    ]
    if recipe:
        lines.append("* All settings: `recipe.json`; versions and machine: `environment.json`.")
    return "\n".join([*lines, ""])


def _data(description: Description, recipe: Mapping[str, Any]) -> str:
    # The place of somebody's own folder stays out: it is nobody's business.
    found: str = description.data or recipe.get("data", {}).get("source", NOT_SAID)
    return found


def _training(recipe: Mapping[str, Any]) -> str:
    if not recipe:
        return NOT_SAID
    sparsity, search, tune = (recipe.get(part, {}) for part in ("sparsity", "train", "tune"))
    level = sparsity.get("level", "unit")
    start = "from trained weights, " if recipe.get("model", {}).get("weights") else ""
    return (
        f"{start}method {sparsity.get('method')} at level {level} for {search.get('epochs')} "
        f"epochs, then {tune.get('epochs')} epochs of tuning; seed {recipe.get('seed')}"
    )


def _certificate(certificate: Mapping[str, Any]) -> str:
    return (
        "## Certificate\n\n"
        "Right after cutting, the network gave what the network before gives when the same units "
        f"are zero, over {certificate['inputs']} images: the largest difference over the largest "
        f"output was {certificate['max_rel_diff_fp32']:.1e} in float32 and "
        f"{certificate['max_rel_diff_fp64']:.1e} in float64. `certificate.json` has the bounds and "
        "the rest.\n"
    )


def _latency(latency: Mapping[str, Any] | None, environment: Mapping[str, Any]) -> str:
    if latency is None:
        return "## Latency\n\nNot measured here.\n"
    machine = latency.get("environment", environment).get("cpu") or "a processor without a name"
    lines = [
        "## Latency",
        "",
        f"Medians in milliseconds for a batch on {machine}, "
        f"{latency['method']['num_threads']} thread(s), dense and slim taking turns:",
        "",
        "| engine | batch | dense | slim | times as fast (95 %) |",
        "| --- | --: | --: | --: | --: |",
        *_timed(latency),
        "",
    ]
    return "\n".join(lines)


def _timed(latency: Mapping[str, Any]) -> Iterator[str]:
    for engine, batches in latency["speedup"].items():
        for batch, ratio in batches.items():
            dense, slim = (latency[side][engine][batch]["p50"] for side in ("dense", "slim"))
            yield (
                f"| {engine} | {batch} | {dense:.3f} | {slim:.3f} | "
                f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) |"
            )

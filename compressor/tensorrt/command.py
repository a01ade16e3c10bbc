"""``compressor build``; heavy imports live inside the functions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from pydantic import ValidationError

from compressor.overrides import near, set_value

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from compressor.tensorrt.settings import BuildSettings
    from compressor.tensorrt.sidecar import Sidecar

FREE_BATCH = (1, 8, 32)
"""Smallest, best and largest batch of a file whose batch is free, where none is given."""


@click.command()
@click.argument("onnx", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    default="tensorrt",
    help="Whose plan: tensorrt builds on a GPU and for it, tensorrt-rtx without one, for many.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The plan; FILE.plan by default.")
@click.option(
    "--batch",
    metavar="MIN,BEST,MAX",
    help="Batch sizes, and the one to be fast for; 1,8,32 for a file whose batch is free.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the build, such as optimization_level=5 or gate.precision=fp16.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan's sidecar as JSON.")
def build(
    onnx: Path,
    engine: str,
    out: Path | None,
    batch: str | None,
    overrides: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Build the file ONNX into a TensorRT plan, and a sidecar that says what it is.

    The plan's precision is that of the file.
    """
    from compressor.tensorrt.build import build_plan
    from compressor.tensorrt.graph import read_graph
    from compressor.tensorrt.module import open_kit

    # A number without axes has no batch.
    batches = [sizes[0] for sizes in read_graph(onnx).inputs.values() if sizes]
    is_free = not all(isinstance(size, int) for size in batches)
    wanted = _numbers(batch) if batch is not None else FREE_BATCH if is_free else None
    settings = _settings(wanted, overrides)
    plan = onnx.with_suffix(".plan") if out is None else out
    kit = open_kit("tensorrt-rtx" if engine == "tensorrt-rtx" else "tensorrt")
    sidecar = build_plan(kit, onnx, plan, settings)
    click.echo(sidecar.model_dump_json(indent=2) if as_json else as_text(plan, sidecar))


def _numbers(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if len(words) != len(FREE_BATCH) or not all(word.strip().isdecimal() for word in words):
        raise click.UsageError(f"--batch {text}: write three whole numbers, such as 1,8,32.")
    return tuple(map(int, words))


def _settings(batch: Sequence[int] | None, overrides: Sequence[str]) -> "BuildSettings":
    from compressor.tensorrt.settings import BuildSettings

    values: dict[str, Any] = {}
    if batch is not None:
        values["batch"] = dict(zip(("min", "opt", "max"), batch, strict=True))
    for override in overrides:
        if wrong := set_value(values, override, "gate.precision=fp16"):
            raise click.UsageError(wrong)
    if isinstance(words := values.get("compute_capabilities"), str):
        values["compute_capabilities"] = words.split(",")
    try:
        return BuildSettings.model_validate(values, strict=False)
    except ValidationError as failure:
        # A misspelt name explains why another is missing.
        fault = min(failure.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise click.UsageError(_fault(fault)) from failure


def _fault(error: "ErrorDetails") -> str:
    """One line: which setting, what is wrong with its value, what to do."""
    names = [str(name) for name in error["loc"] if isinstance(name, str)]
    where = ".".join(names)
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: there is no such setting. {near(names[-1], _known(names[:-1]))}"
        case "missing":
            return f"{where}: the setting is missing. Give it with --set too."
        case "model_type":
            keys = ", ".join(f"{where}.{name}" for name in _known(names))
            return f"{where} = {error['input']}: it has settings of its own. Set {keys}."
        case "value_error":
            return f"{where}: {error['msg'].removeprefix('Value error, ')}."
        case _:
            return f"{where} = {error['input']}: {error['msg'][:1].lower()}{error['msg'][1:]}."


def _known(section: Sequence[str]) -> list[str]:
    """Names of the settings in a section; of the build itself if it is empty."""
    from compressor.tensorrt.settings import BuildSettings

    model: Any = BuildSettings
    for name in section:
        kinds = get_args(model.model_fields[name].annotation)
        model = next(kind for kind in kinds if hasattr(kind, "model_fields"))
    return list(model.model_fields)


def as_text(plan: Path, sidecar: "Sidecar") -> str:
    """What was built, for people."""
    built, shapes = sidecar.built_with, sidecar.shapes.values()
    batches = ", ".join(f"{s.min[0]} to {s.max[0]}, best {s.opt[0]}" for s in shapes if s.min)
    file = ", ".join(f"{number} {name}" for name, number in sidecar.onnx_precisions.items())
    lines = [
        f"{plan}: {plan.stat().st_size:,d} bytes, {built.flavour} {built.version}",
        f"batch {batches}",
        f"products in the file: {file}",
    ]
    if sidecar.precisions is not None:
        read = ", ".join(f"{n} {name}" for name, n in sidecar.precisions.products.items())
        lines.append(f"products in the plan: {read}")
    else:
        lines.append(f"the plan was not read back: {sidecar.not_inspected}")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in sidecar.warnings)])

"""``compressor build``; heavy imports live inside the functions."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

if TYPE_CHECKING:
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

    is_free = any(not isinstance(sizes[0], int) for sizes in read_graph(onnx).inputs.values())
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
        _merge(values, _parsed(override))
    try:
        return BuildSettings.model_validate(values, strict=False)
    except ValidationError as failure:
        fault = failure.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        known = ", ".join(BuildSettings.model_fields)
        told = f"{where}: {fault['msg']}. The settings are {known}."
        raise click.UsageError(told) from failure


def _parsed(override: str) -> dict[str, Any]:
    """``key=value`` as nested keys; the value in TOML, and bare words are text."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"--set {override}: write key=value, such as tf32=false.")
    for value in (text, f"'{text.strip()}'"):
        try:
            return tomllib.loads(f"{key} = {value}")
        except tomllib.TOMLDecodeError:
            continue
    raise click.UsageError(f"--set {override}: the value is neither TOML nor a word.")


def _merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def as_text(plan: Path, sidecar: "Sidecar") -> str:
    """What was built, for people."""
    built, shapes = sidecar.built_with, sidecar.shapes.values()
    batches = ", ".join(f"{s.min[0]} to {s.max[0]}, best {s.opt[0]}" for s in shapes)
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

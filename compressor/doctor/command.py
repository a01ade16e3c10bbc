"""``compressor doctor``; heavy imports live inside the function."""

import json
import shutil
from pathlib import Path
from typing import get_args

import click

from compressor.doctor.names import DoctorClock, DoctorEngine
from compressor.either import example, given_options, refuse_options

OF_THE_CPU = {"--threads", "--clock"}
"""Options that say nothing of a GPU."""


@click.command(epilog=example("compressor doctor runs/demo --threads 2"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(get_args(DoctorEngine)),
    default="onnxruntime",
    help="Or TensorRT on a GPU, for which both networks are built first (not measured yet).",
)
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=1, help="Images in one run."
)
@click.option(
    "--threads",
    "num_threads",
    type=click.IntRange(min=1),
    default=1,
    help="Threads of ONNX Runtime.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=2),
    default=30,
    help="Runs of each network; the fastest of each kernel counts.",
)
@click.option(
    "--clock",
    type=click.Choice(get_args(DoctorClock)),
    default="wall",
    help="Or under real-time priority, where the system allows it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def doctor(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    run: Path,
    engine: DoctorEngine,
    batch_size: int,
    num_threads: int,
    runs: int,
    clock: DoctorClock,
    *,
    as_json: bool,
) -> None:
    """Of a finished RUN, tell which layers hold the time, why, and what would change it.

    Its dense and slim network are profiled layer by layer.
    """
    from compressor.doctor.diagnosis import examine
    from compressor.doctor.settings import DoctorSettings
    from compressor.doctor.text import as_text

    if engine != "onnxruntime":
        given = given_options(ctx, ctx.command.params)
        refuse_options(given & OF_THE_CPU, "--engine onnxruntime", ctx)
    settings = DoctorSettings(
        engine=engine, batch_size=batch_size, num_threads=num_threads, runs=runs, clock=clock
    )
    found = examine(run, settings)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        width = shutil.get_terminal_size(fallback=(120, 24)).columns
        click.echo(as_text(found, width), nl=False)

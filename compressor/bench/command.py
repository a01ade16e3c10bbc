"""``compressor bench`` for files; heavy imports live inside the functions."""

import json
import shutil
from typing import Any, get_args

import click

from compressor.bench.names import ClockName, CudaGraph
from compressor.console import Console
from compressor.either import given_options, refuse_options

HELP = (
    "Of files (model.onnx, onnxruntime:model.onnx, ...), time all of them against the first, run "
    "by run in turn, in one process."
)
OF_BOTH = {"files", "--quiet", "--json"}
"""What is for recipes and files alike."""

OPTIONS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--batch", "batch_size"],
        type=click.IntRange(min=1),
        default=1,
        help="Of files: images in one run; 1 by default.",
    ),
    click.Option(
        ["--rounds"],
        type=click.IntRange(min=2),
        default=300,
        help="Of files: timed runs of each; 300 by default, and a p99 needs as many.",
    ),
    click.Option(
        ["--threads", "num_threads"],
        type=click.IntRange(min=1),
        default=1,
        help="Of files: threads of the engine; 1 by default.",
    ),
    click.Option(
        ["--max-seconds"],
        type=click.IntRange(min=1),
        default=60,
        help="Of files: no new round is begun after this; 60 by default. The clock cuda-events "
        "takes three series of so long each: runs, copies in, copies out.",
    ),
    click.Option(
        ["--clock"],
        type=click.Choice(get_args(ClockName)),
        default="wall",
        help="Of files: time that passes; time on the CPU (one thread only); time that passes "
        "under real-time priority, where the system allows it; or, of plans on a GPU alone, the "
        "GPU's time between CUDA events, transfers apart.",
    ),
    click.Option(
        ["--cuda-graph"],
        type=click.Choice(get_args(CudaGraph)),
        default="on",
        help="Of files on a GPU: on launches from a CUDA graph where one can be captured (the "
        "default), off kernel by kernel; both times each file in both ways.",
    ),
)
"""For files alone."""


EPILOG = """\b
Examples:
  compressor bench dense.onnx slim.onnx openvino:slim.onnx --clock realtime
  compressor bench dense.plan slim.plan --clock cuda-events --cuda-graph both

On a GPU, each file's line says which figure of trtexec 10.x or 11.x it can be held against, and
under which switches. Clocks, temperature, power and throttling are read through NVML while the
rounds go on, with the package nvidia-ml-py."""


class BenchCommand(click.Command):
    """Times files; of a recipe, does what ``of_recipes`` does."""

    def __init__(self, of_recipes: click.Command) -> None:
        names = click.Argument(["files"], nargs=-1, required=True, metavar="RECIPE | FILES...")
        kept = [p for p in of_recipes.params if isinstance(p, click.Option)]
        super().__init__(
            of_recipes.name,
            params=[names, *kept, *OPTIONS],
            help=f"{of_recipes.help} {HELP}",
            epilog=EPILOG,
        )
        self._of_recipes = of_recipes

    def invoke(self, ctx: click.Context) -> None:
        """Time files or run the recipe, by what the first argument names."""
        from compressor.bench.subjects import is_subject

        given = given_options(ctx, self.params)
        of_files = {option.opts[0] for option in OPTIONS}
        options = {o.name: ctx.params.pop(o.name) for o in OPTIONS if o.name is not None}
        files: tuple[str, ...] = ctx.params.pop("files")
        if any(map(is_subject, files)):
            refuse_options(given - of_files - OF_BOTH, "recipes", ctx)
            _bench(ctx, files, options)
        else:
            refuse_options(given & of_files, "files such as model.onnx", ctx)
            if len(files) > 1:
                told = f"{len(files)} recipes were given, {', '.join(files)}: give one."
                raise click.UsageError(told, ctx)
            ctx.params["recipe"] = files[0]
            self._of_recipes.invoke(ctx)


def _bench(ctx: click.Context, files: tuple[str, ...], options: dict[str, Any]) -> None:
    from compressor.bench.files import FilesSettings, bench_files
    from compressor.bench.subjects import parse_subjects
    from compressor.bench.text import as_text

    if options["clock"] == "process" and options["num_threads"] > 1:
        told = "--clock process adds up the time of all threads: give --threads 1."
        raise click.UsageError(told, ctx)
    console = Console(quiet=ctx.params["quiet"])
    record = bench_files(
        parse_subjects(files), FilesSettings.model_validate(options, strict=False), console
    )
    if ctx.params["as_json"]:
        click.echo(json.dumps(record, indent=2, allow_nan=False))
    else:
        width = shutil.get_terminal_size(fallback=(120, 24)).columns
        click.echo(as_text(record, width), nl=False)

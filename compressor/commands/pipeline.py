"""Commands that run a recipe, to the end or up to one stage; heavy imports live inside."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.bench.command import BenchCommand
from compressor.bench.onnx_input import onnx_image_shape
from compressor.commands.options import OPTIONS, Options
from compressor.console import Console
from compressor.either import example, given_options, refuse_options
from compressor.errors import CompressorError
from compressor.inspection.command import InspectCommand
from compressor.tensorrt.command import BuildCommand

if TYPE_CHECKING:
    from compressor.pipeline import Where
    from compressor.recipe import Recipe

STAGE_HELP = {
    "inspect": "Find the couplings and export the untrained network, before any training.",
    "dense": "Train the dense reference.",
    "train": "Search: train sparse and record the path.",
    "strip": "Remove the units outside the budget, with a certificate.",
    "tune": "Re-estimate norms and fine-tune the slim network.",
    "export": "Write ONNX files.",
    "verify": "Check the exported files and measure test accuracy.",
    "build": "Build the TensorRT plans that the recipe asks for.",
    "bench": "Time dense against slim.",
    "package": "Write the slim package: a folder that loads and can be checked by itself.",
    "report": "Write summary.json, report.html and report.md.",
}
"""Commands that run the pipeline up to one stage."""

WRAPPED: Mapping[str, Callable[[click.Command], click.Command]] = {
    "inspect": InspectCommand,
    "build": partial(BuildCommand, check_images=onnx_image_shape),
    "bench": BenchCommand,
}
"""Of these, the ones that also take something else than a recipe."""

EXAMPLES = {
    "run": ("compressor run digits --dry-run", "compressor run digits --out runs/demo"),
    "grow": ("compressor grow digits-grow --out runs/grown",),
    "strip": ("compressor strip digits --out runs/demo --set strip.keep_macs=0.2",),
    "verify": (
        "compressor verify digits --out runs/demo",
        "compressor verify runs/demo/package",
    ),
}
"""Of the commands whose example says more than their name."""


class PipelineCommand(click.Command):
    """Runs a recipe up to one stage, or to the end."""

    def __init__(self, name: str, help_text: str, until: str | None) -> None:
        lines = EXAMPLES.get(name, (f"compressor {name} digits --out runs/demo",))
        super().__init__(name, params=list(OPTIONS), help=help_text, epilog=example(*lines))
        self._until = until

    def invoke(self, ctx: click.Context) -> None:
        """Run, with the options as one record."""
        _run(Options(**ctx.params), self._until, ctx)


class VerifyCommand(PipelineCommand):
    """Runs a recipe up to ``verify``, or checks a package."""

    def invoke(self, ctx: click.Context) -> None:
        """Run or check, by what the argument names."""
        from compressor.package.manifest import find_package

        folder = find_package(ctx.params["recipe"])
        if folder is None:
            super().invoke(ctx)
        else:
            given = given_options(ctx, self.params) - {"recipe", "--json", "--quiet", "--device"}
            refuse_options(given, f"recipes, and {folder} is a package", ctx)
            _verify_package(folder, as_json=ctx.params["as_json"])


class GrowCommand(PipelineCommand):
    """Runs a recipe that grows; one without the section grows by its defaults."""

    def invoke(self, ctx: click.Context) -> None:
        """Run, with ``[grow]`` in the recipe."""
        from compressor.recipe import find_recipe, load_recipe

        options = Options(**ctx.params)
        if load_recipe(find_recipe(options.recipe), options.overrides).grow is None:
            options = replace(options, overrides=(*options.overrides, "grow={}"))
        _run(options, None, ctx)


def pipeline_commands() -> list[click.Command]:
    """``run``, ``grow``, and one command for each stage."""
    whole = "Run every stage of RECIPE, a file or the name of a shipped one."
    grown = "Grow the network of RECIPE from narrow to wide instead of searching at full width."
    commands: list[click.Command] = [
        PipelineCommand("run", whole, None),
        GrowCommand("grow", grown, None),
    ]
    for stage, text in STAGE_HELP.items():
        help_text = f"{text} Earlier stages run first if they are not done."
        if stage == "verify":
            help_text += " Of a folder with a package in it, check the package instead."
        kind = VerifyCommand if stage == "verify" else PipelineCommand
        command = kind(stage, help_text, stage)
        commands.append(WRAPPED[stage](command) if stage in WRAPPED else command)
    return commands


def _verify_package(folder: Path, *, as_json: bool) -> None:
    from compressor.package.verify import verify_package

    verification = verify_package(folder)
    if as_json:
        click.echo(json.dumps(verification.to_json(), indent=2))
    else:
        click.echo(verification.table(), nl=False)
    verification.check()


def _run(options: Options, until: str | None, ctx: click.Context) -> None:
    from compressor.pipeline import Where, default_out, is_first_process
    from compressor.recipe import find_recipe, load_recipe, recipe_origin

    if options.resume and options.out is None:
        raise click.UsageError("--resume needs --out, the directory of the run to go on with.", ctx)
    path = find_recipe(options.recipe)
    given = {"seed": options.seed, "strip.engine": options.engine}
    more = (f"{key}={value}" for key, value in given.items() if value is not None)
    overrides = (*options.overrides, *more)
    recipe = load_recipe(path, overrides)
    where = Where(
        out=options.out or default_out(recipe),
        console=Console(quiet=options.quiet),
        device=options.device,
        resume=options.resume,
        model_folders=(path.parent, Path()),
        until=until,
    )
    told = recipe_origin(path, overrides).told
    if options.dry_run:
        from compressor.dry_run.command import print_dry_run

        print_dry_run(recipe, where, told, as_json=options.as_json)
        return
    ctx.find_root().obj = str(where.out)
    folder = _run_told(recipe, where, told)
    if is_first_process():
        click.echo(_result(folder, until, as_json=options.as_json), nl=False)


def _run_told(recipe: "Recipe", where: "Where", told: Callable[[str], str]) -> Path:
    """Run, and tell a fault of the recipe with its place, as the dry run does; the directory."""
    from compressor.pipeline import run_recipe

    try:
        return run_recipe(recipe, where).folder
    except CompressorError as failure:
        from compressor.dry_run.faults import of_recipe

        fault = of_recipe(failure, recipe, where, told)
        if fault is None:
            raise
        raise fault from failure


def _result(folder: Path, until: str | None, *, as_json: bool) -> str:
    if not as_json:
        return f"{folder}\n"
    # After an earlier stage a summary may lie there that is older than the stage.
    if until in (None, "report"):
        return (folder / "summary.json").read_text(encoding="utf-8")
    return json.dumps({"run": str(folder)}) + "\n"

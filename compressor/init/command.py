"""``compressor init``; heavy imports live inside the functions."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from compressor.console import Console
from compressor.either import example
from compressor.errors import CompressorError, RecipeError
from compressor.init.asked import DEFAULT_MINUTES, DEFAULT_TARGET, EXAMPLES, Asked, read_targets

DEFAULT_OUT = Path("recipe.toml")

MISSING = {
    "model": "--model (torchvision:NAME, timm:NAME or path/to/file.py:NAME)",
    "data": "--data (a folder with one folder of pictures for each class)",
    "targets": f"--target ({EXAMPLES})",
}
"""What has to be known, and how it is given."""


@click.command(
    "init",
    epilog=example(
        "compressor init --model torchvision:mobilenet_v2 --weights net.pth --data photos "
        "--target keep_macs=0.5",
        "compressor init --model net.py:build --data photos --target latency_ms=3@onnxruntime",
    ),
)
@click.option("--model", help="torchvision:NAME, timm:NAME or path/to/file.py:NAME.")
@click.option("--weights", type=click.Path(path_type=Path), help="Trained weights to start from.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of class folders.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="KEY=NUMBER[@ENGINE]",
    help=f"{EXAMPLES}; the first is the recipe's, others become slices of its search.",
)
@click.option("--out", type=click.Path(path_type=Path), help=f"The recipe; {DEFAULT_OUT} if left.")
@click.option("--image-size", type=click.IntRange(min=1), help="In pixels; chosen if left.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_MINUTES,
    show_default=True,
    help="What the whole run should take on this machine.",
)
@click.option("--yes", is_flag=True, help="Ask nothing; an old file at --out is replaced.")
@click.option("--quiet", is_flag=True, help="Only warnings on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def init_command(ctx: click.Context, /, **options: Any) -> None:
    """Write a commented recipe for a network and a folder of pictures, with a forecast.

    The network is built, run once, exported and trained for a few steps. What is missing is asked
    for on a terminal, and named elsewhere.
    """
    asks = on_terminal() and not options["yes"]
    out = options["out"] or DEFAULT_OUT
    asked = _asked(options, asks, ctx)
    _check_out(out, asks, replaces=options["yes"])
    console = Console(quiet=options["quiet"])
    try:
        _write(asked, out, console, as_json=options["as_json"])
    except CompressorError as failure:
        # Whatever is wrong is wrong with what was given here.
        raise RecipeError(str(failure)) from failure


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _asked(options: dict[str, Any], asks: bool, ctx: click.Context) -> Asked:
    given = dict(options)
    if options["yes"] and not given["targets"]:
        given["targets"] = (DEFAULT_TARGET,)
    missing = [name for name in MISSING if not given[name]]
    if missing and not asks:
        raise click.UsageError(f"Missing: {', '.join(MISSING[name] for name in missing)}.", ctx)
    for name in missing:
        given[name] = _ask(name)
    if missing and given["weights"] is None and "model" in missing:
        weights = click.prompt("Trained weights (empty: from scratch)", default="", err=True)
        given["weights"] = Path(weights) if weights else None
    return Asked(
        model=given["model"],
        data=given["data"].expanduser(),
        targets=read_targets(given["targets"]),
        weights=given["weights"],
        image_size=given["image_size"],
        minutes=given["minutes"],
    )


def _ask(name: str) -> Any:
    if name == "model":
        return click.prompt("Network (torchvision:NAME, timm:NAME, path/to/file.py:NAME)", err=True)
    if name == "data":
        return Path(click.prompt("Folder of class folders", err=True))
    return (click.prompt(f"Target ({EXAMPLES})", default=DEFAULT_TARGET, err=True),)


def _check_out(out: Path, asks: bool, *, replaces: bool) -> None:
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise RecipeError(f"--out {out}: no file can be there. Give one such as {DEFAULT_OUT}.")
    if not out.exists() or replaces:
        return
    if not asks or not click.confirm(f"{out} is there already. Replace it?", err=True):
        raise RecipeError(f"--out {out} is there already. Give another name, or --yes.")


def _write(asked: Asked, out: Path, console: Console, *, as_json: bool) -> None:
    from compressor.files import write_text
    from compressor.init.check import check_recipe_here
    from compressor.init.draft import make_draft
    from compressor.init.expected import forecast_lines
    from compressor.init.page import recipe_text
    from compressor.recipe import check_recipe

    draft = make_draft(asked, console)
    text = recipe_text(draft)
    # Before an old file is replaced by it.
    check_recipe_here(check_recipe(tomllib.loads(text), str(out)), draft, console)
    write_text(out, text)
    if as_json:
        click.echo(json.dumps(draft.to_json(out), indent=2))
        return
    for line in forecast_lines(draft):
        console.say(f"init: {line}")
    click.echo(str(out))
    console.say(f"init: read it, then: compressor run {out}")

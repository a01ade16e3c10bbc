"""``compressor inspect`` for networks by name; heavy imports live inside the functions."""

import json
import shutil
from pathlib import Path

import click

from compressor.console import Console
from compressor.either import example, given_options, refuse_options
from compressor.inspection.records import ImageShape

HELP = (
    "Of a network by name (torchvision:NAME, timm:NAME, path/to/file.py:NAME), tell within a "
    "minute what can be removed, what cannot and why, what 2x and 4x fewer MACs would leave, and "
    "whether it exports."
)
OF_BOTH = {"recipe", "--engine", "--quiet", "--json"}
"""What is for recipes and networks alike."""


def _image_shape(
    _ctx: click.Context, _option: click.Parameter, value: str | None
) -> ImageShape | None:
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is not CHANNELS,HEIGHT,WIDTH such as 3,224,224.")
    channels, height, width = map(int, parts)
    return channels, height, width


OPTIONS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--input-shape", "image_shape"],
        callback=_image_shape,
        metavar="C,H,W",
        help="Of a network: its images; 3,224,224 unless it says otherwise itself.",
    ),
    click.Option(
        ["--num-classes"],
        type=click.IntRange(min=1),
        default=1000,
        help="Of a network: classes that it tells apart; 1000 by default.",
    ),
)
"""For a network without a recipe."""


EPILOG = example(
    "compressor inspect digits --out runs/demo",
    "compressor inspect torchvision:resnet18 --input-shape 3,96,96 --num-classes 10",
)


class InspectCommand(click.Command):
    """Inspects a network by its name; of a recipe, does what ``of_recipes`` does."""

    def __init__(self, of_recipes: click.Command) -> None:
        super().__init__(
            of_recipes.name,
            params=[*of_recipes.params, *OPTIONS],
            help=f"{of_recipes.help} {HELP}",
            epilog=EPILOG,
        )
        self._of_recipes = of_recipes

    def invoke(self, ctx: click.Context) -> None:
        """Inspect or run, by what the argument names."""
        from compressor.inspection.reference import is_reference

        given = given_options(ctx, self.params)
        of_networks = {option.opts[0] for option in OPTIONS}
        shape, num_classes = (ctx.params.pop(name) for name in ("image_shape", "num_classes"))
        if is_reference(ctx.params["recipe"]):
            refuse_options(given - of_networks - OF_BOTH, "recipes", ctx)
            _inspect(ctx, shape, num_classes)
        else:
            refuse_options(given & of_networks, "networks such as torchvision:resnet18", ctx)
            self._of_recipes.invoke(ctx)


def _inspect(ctx: click.Context, image_shape: ImageShape | None, num_classes: int) -> None:
    from compressor.inspection.reference import Reference, inspect_reference
    from compressor.inspection.text import as_text
    from compressor.recipe import shipped

    name, console = ctx.params["recipe"], Console(quiet=ctx.params["quiet"])
    folders = (Path(), shipped("models").parent)
    found = inspect_reference(
        Reference(name, image_shape, num_classes, folders, ctx.params["engine"] or "both"),
        lambda line: console.say(f"inspect: {line}"),
    )
    if ctx.params["as_json"]:
        click.echo(json.dumps({"model": name, **found.to_json()}, indent=2))
    else:
        width = shutil.get_terminal_size(fallback=(100, 24)).columns
        click.echo(as_text(found, name, width), nl=False)

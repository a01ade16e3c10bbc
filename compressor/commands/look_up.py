"""``compressor show``, ``list`` and ``data``; heavy imports live inside the functions."""

import json

import click

from compressor.commands.group import Named
from compressor.completion import complete_data, complete_recipe
from compressor.console import Console
from compressor.either import example


@click.command(epilog=example("compressor show digits --set train.epochs=8"))
@click.argument("recipe", shell_complete=complete_recipe)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which it does in any case.")
def show(recipe: str, overrides: tuple[str, ...], *, as_json: bool) -> None:  # noqa: ARG001
    """Print the full settings of RECIPE as JSON, checked."""
    from compressor.recipe import find_recipe, load_recipe

    click.echo(load_recipe(find_recipe(recipe), overrides).model_dump_json(indent=2))


@click.command("list", epilog=example("compressor list methods", "compressor list recipes --json"))
@click.argument("what", type=click.Choice(["methods", "data", "models", "recipes", "engines"]))
@click.option(
    "--json", "as_json", is_flag=True, help="Print a list of records, each with at least a name."
)
def list_command(what: str, as_json: bool) -> None:
    """List methods, data sets, models, recipes or engines."""
    from compressor.listing import LISTS, as_text

    rows = LISTS[what]()
    click.echo(json.dumps(rows, indent=2) if as_json else as_text(rows))


@click.group(cls=Named, epilog=example("compressor data get fashion-mnist"))
def data() -> None:
    """Real data from the registries or its home page."""


@data.command("get", epilog=example("compressor data get fashion-mnist"))
@click.argument("name", shell_complete=complete_data)
@click.option("--quiet", is_flag=True, help="Only warnings on stderr.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the name and the folder of the data as JSON."
)
def data_get(name: str, quiet: bool, as_json: bool) -> None:
    """Fetch the data set NAME, checked by hash; what is there already is only checked."""
    from compressor.data.catalog import data_root, get_data

    root = data_root()
    get_data(name, root, Console(quiet=quiet))
    if as_json:
        click.echo(json.dumps({"name": name, "folder": str(root / name)}))

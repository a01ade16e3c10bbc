"""``compressor transfer``; heavy imports live inside the function."""

import json
from pathlib import Path

import click

from compressor.console import Console
from compressor.either import options_after_a_run


class TransferCommand(click.Command):
    """``compressor transfer``."""

    def invoke(self, ctx: click.Context) -> None:
        """Make the rows, and print the table."""
        from compressor.recipe import find_recipe, load_recipe
        from compressor.transfer.make import TransferPlan, make_transfer
        from compressor.transfer.origin import Origin
        from compressor.transfer.table import as_text

        options = ctx.params
        origin, path = Origin.open(options["run"]), find_recipe(options["recipe"])
        to = () if options["to"] is None else (f"data.source={options['to']}",)
        recipe = load_recipe(path, (*options["overrides"], *to))
        plan = TransferPlan(
            out=options["out"]
            or origin.run.folder / "transfer" / _name(recipe.name, options["to"]),
            recipe=recipe,
            num_seeds=options["seeds"],
            model_folders=(path.parent, Path()),
        )
        ctx.find_root().obj = str(plan.out)
        console = Console(quiet=options["quiet"])
        record = make_transfer(origin, plan, console, options["device"])
        text = json.dumps(record, indent=2) + "\n" if options["as_json"] else as_text(record)
        click.echo(text, nl=False)


def _name(recipe: str, data: str | None) -> str:
    """Of a folder: one recipe may be taken to several sets of data."""
    return recipe if data is None else f"{recipe}-{data}"


transfer_command = TransferCommand(
    "transfer",
    params=[
        click.Argument(["run"], type=click.Path(path_type=Path)),
        click.Argument(["recipe"]),
        click.Option(["--to"], metavar="DATA", help="Data of the new task, in place of RECIPE's."),
        click.Option(
            ["--seeds"],
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Train every row with so many seeds, from RECIPE's on.",
        ),
        *options_after_a_run("RECIPE"),
    ],
    help=(
        "Train the structure of a RUN on another task, that of RECIPE, with kept and with fresh "
        "weights, beside dense networks and random units. "
        "Example: compressor transfer runs/mnist fashion-mnist --seeds 3"
    ),
)

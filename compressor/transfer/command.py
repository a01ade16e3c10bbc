"""``compressor transfer``; heavy imports live inside the function."""

import json
from pathlib import Path

import click

from compressor.completion import complete_data, complete_recipe
from compressor.console import Console
from compressor.dry_run.command import print_dry_run
from compressor.either import example, options_after_a_run


class TransferCommand(click.Command):
    """``compressor transfer``."""

    def invoke(self, ctx: click.Context) -> None:
        """Make the rows, and print the table."""
        from compressor.pipeline import Where
        from compressor.recipe import find_recipe, load_recipe, recipe_origin
        from compressor.transfer.fit import check_same_network
        from compressor.transfer.make import LAST_STAGE, TransferPlan, make_transfer
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
        console = Console(quiet=options["quiet"])
        if options["dry_run"]:
            source = recipe_origin(path, (*options["overrides"], *to))
            check_same_network(origin.recipe.model, recipe.model)
            where = Where(
                plan.out,
                console,
                options["device"],
                model_folders=plan.model_folders,
                until=LAST_STAGE,
            )
            print_dry_run(recipe, where, source.told, as_json=options["as_json"])
            return
        ctx.find_root().obj = str(plan.out)
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
        click.Argument(["recipe"], shell_complete=complete_recipe),
        click.Option(
            ["--to"],
            metavar="DATA",
            shell_complete=complete_data,
            help="Data of the new task, in place of RECIPE's.",
        ),
        click.Option(
            ["--seeds"],
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Train every row with so many seeds, from RECIPE's on.",
        ),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Check that RUN has the network of RECIPE, and all that a dry run of RECIPE does; "
            "train nothing and write nothing.",
        ),
        *options_after_a_run("RECIPE"),
    ],
    help=(
        "Train the structure of a RUN on another task, that of RECIPE, with kept and with fresh "
        "weights, beside dense networks and random units."
    ),
    epilog=example("compressor transfer runs/mnist fashion-mnist --seeds 3"),
)

"""``compressor slice`` and ``compressor family``; heavy imports live inside the functions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from compressor.console import Console
from compressor.either import example, options_after_a_run

_SHARE = click.FloatRange(min=0, max=1, min_open=True)

_SIZES: tuple[click.Option, ...] = (
    click.Option(["--keep-macs"], type=_SHARE, help="Share of the MACs that stays."),
    click.Option(["--keep-params"], type=_SHARE, help="Share of the parameters that stays."),
    click.Option(["--keep-latency"], type=_SHARE, help="Share of the latency that stays."),
    click.Option(
        ["--latency-ms"],
        type=click.FloatRange(min=0, min_open=True),
        help="Milliseconds on the recipe's target.",
    ),
    click.Option(
        ["--at-epoch"],
        type=click.IntRange(min=1),
        help="What had entered by the end of this epoch of the search.",
    ),
)


class SliceCommand(click.Command):
    """``compressor slice``."""

    def invoke(self, ctx: click.Context) -> None:
        """Make the slice that the options ask for."""
        from compressor.pipeline import Where
        from compressor.sizes.slices import Source, slice_run, sliced_recipe

        options = ctx.params
        size = _size(options, ctx)
        source = Source.open(options["run"])
        recipe = sliced_recipe(source.recipe, size, options["tune"], options["overrides"])
        out = options["out"] or source.run.folder / "slices" / size.name
        where = Where(out, Console(quiet=options["quiet"]), options["device"], resume=True)
        ctx.find_root().obj = str(out)
        made = slice_run(source, recipe, where)
        summary = (made.folder / "summary.json").read_text(encoding="utf-8")
        click.echo(summary if options["as_json"] else f"{made.folder}\n", nl=False)


def _size(options: Mapping[str, Any], ctx: click.Context) -> Any:
    from compressor.sizes.slices import SIZES, Size

    given = [Size(key, value) for key in SIZES if (value := options[key]) is not None]
    if len(given) != 1:
        names = ", ".join(option.opts[0] for option in _SIZES)
        told = " and ".join(f"--{size.key.replace('_', '-')}" for size in given) or "none"
        raise click.UsageError(f"Give one size, one of {names}; {told} was given.", ctx)
    return given[0]


slice_command = SliceCommand(
    "slice",
    params=[
        click.Argument(["run"], type=click.Path(path_type=Path)),
        *_SIZES,
        click.Option(
            ["--tune"],
            type=click.IntRange(min=0),
            default=0,
            metavar="EPOCHS",
            help="Tune the slice; without it norm statistics alone are re-estimated.",
        ),
        *options_after_a_run("what follows the search"),
    ],
    help="Make another size of a RUN from its path; nothing is searched again.",
    epilog=example("compressor slice runs/demo --keep-macs 0.37 --tune 5"),
)


class FamilyCommand(click.Command):
    """``compressor family``."""

    def invoke(self, ctx: click.Context) -> None:
        """Make the sizes that the options ask for."""
        from compressor.sizes.curve import as_text
        from compressor.sizes.family import FamilyPlan, make_family
        from compressor.sizes.slices import Source

        options = ctx.params
        source = Source.open(options["run"])
        plan = FamilyPlan(
            out=options["out"] or source.run.folder / "family",
            shares=_shares(options["shares"], ctx),
            tune_epochs=options["tune"],
            overrides=options["overrides"],
        )
        console = Console(quiet=options["quiet"])
        ctx.find_root().obj = str(plan.out)
        device: Literal["auto", "cpu"] = options["device"]
        record = make_family(source, plan, console, device)
        text = json.dumps(record, indent=2) + "\n" if options["as_json"] else as_text(record)
        click.echo(text, nl=False)


def _shares(text: str | None, ctx: click.Context) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise click.UsageError(
            f"--sizes {text}: give shares above 0 and up to 1, as 1,0.5,0.2.", ctx
        )
    return tuple(sorted(set(shares), reverse=True))


family_command = FamilyCommand(
    "family",
    params=[
        click.Argument(["run"], type=click.Path(path_type=Path)),
        click.Option(
            ["--sizes", "shares"],
            metavar="SHARES",
            help="Shares of the MACs, as 1,0.5,0.2; if left out eight from 1 to 0.05.",
        ),
        click.Option(
            ["--tune"],
            type=click.IntRange(min=0),
            metavar="EPOCHS",
            help="Epochs of tuning for each; if left out those of the recipe.",
        ),
        *options_after_a_run("what follows the search"),
    ],
    help=(
        "Make a set of sizes of a RUN from its one path, each a slim package, and the curve of "
        "accuracy over what they cost."
    ),
    epilog=example("compressor family runs/demo --sizes 1,0.5,0.25"),
)

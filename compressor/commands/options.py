"""What the commands that run a recipe take, the same for all of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from compressor.completion import complete_recipe


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line of a pipeline command; see ``OPTIONS``."""

    recipe: str
    out: Path | None
    overrides: tuple[str, ...]
    seed: int | None
    device: Literal["auto", "cpu"]
    engine: str | None
    resume: bool
    dry_run: bool
    quiet: bool
    as_json: bool


OPTIONS: tuple[click.Parameter, ...] = (
    click.Argument(["recipe"], shell_complete=complete_recipe),
    click.Option(["--out"], type=click.Path(path_type=Path), help="Run directory."),
    click.Option(
        ["--set", "overrides"],
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting.",
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
    click.Option(
        ["--dry-run"],
        is_flag=True,
        help="Check recipe, data, network, budget, export and engines in a minute, train nothing "
        "and write nothing; exit status 2 for the recipe, 3 for the rest.",
    ),
    click.Option(["--quiet"], is_flag=True, help="Only warnings on stderr."),
    click.Option(
        ["--json", "as_json"],
        is_flag=True,
        help="Print JSON: summary.json once there is one, before that where the run lies; of a dry "
        "run its checks.",
    ),
)
"""The same for every pipeline command."""

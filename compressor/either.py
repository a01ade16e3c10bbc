"""What commands share that take a recipe or something else: options that are for one of the two."""

from collections.abc import Iterable

import click
from click.core import ParameterSource


def given_options(ctx: click.Context, parameters: Iterable[click.Parameter]) -> set[str]:
    """Those of ``parameters`` that stand on the command line, by the first of their names."""
    return {
        parameter.opts[0]
        for parameter in parameters
        if ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }


def refuse_options(options: set[str], owner: str, ctx: click.Context) -> None:
    """Refuse options that are only for ``owner``.

    Raises:
        UsageError: There are some.
    """
    if options:
        raise click.UsageError(f"{', '.join(sorted(options))} can only be given for {owner}.", ctx)

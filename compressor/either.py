"""What commands share: options that are for one of two uses, and those of work after a run."""

from collections.abc import Iterable
from pathlib import Path

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


def options_after_a_run(changes: str) -> tuple[click.Parameter, ...]:
    """Where to, overrides, device and output, for commands that go on from a run.

    Args:
        changes: What ``--set`` overrides, for its help.
    """
    return (
        click.Option(
            ["--out"], type=click.Path(path_type=Path), help="Where to; inside RUN if left out."
        ),
        click.Option(
            ["--set", "overrides"],
            multiple=True,
            metavar="KEY=VALUE",
            help=f"Override a setting of {changes}.",
        ),
        click.Option(
            ["--device"],
            type=click.Choice(["auto", "cpu"]),
            default="auto",
            help="auto takes a GPU where there is one.",
        ),
        click.Option(["--quiet"], is_flag=True, help="Only warnings on stderr."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
    )


def example(*lines: str) -> str:
    """The end of a command's help: how to call it, a line each."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    # Without the mark click would fill the lines into a paragraph.
    return "\n".join(["\b", head, *(f"  {line}" for line in lines)])

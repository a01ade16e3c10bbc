"""``compressor compare``; heavy imports live inside the function."""

import json
from pathlib import Path

import click

from compressor.either import example

PAGE = Path("compare.html")


class CompareCommand(click.Command):
    """``compressor compare``."""

    def invoke(self, ctx: click.Context) -> None:
        """Read the runs, write the page, say where it is or what is on it."""
        from compressor.compare.page import as_json, as_report
        from compressor.compare.runs import read_runs
        from compressor.files import write_text
        from compressor.report.as_html import render

        options = ctx.params
        folders: tuple[Path, ...] = options["runs"]
        if len(folders) < 2:
            told = f"{folders[0]} alone is nothing to compare. Name two runs or more."
            raise click.UsageError(told, ctx)
        comparison = read_runs(folders)
        out: Path = options["out"]
        write_text(out, render(as_report(comparison)))
        text = json.dumps(as_json(comparison), indent=2) if options["as_json"] else str(out)
        click.echo(text)


compare_command = CompareCommand(
    "compare",
    params=[
        click.Argument(["runs"], type=click.Path(path_type=Path), nargs=-1, required=True),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path, dir_okay=False),
            default=PAGE,
            show_default=True,
            help="The page to write.",
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the figures as JSON."),
    ],
    help=(
        "Set finished RUNS beside each other on one page: accuracy, size, latency, certificates, "
        "settings that differ, and which run is dominated by another."
    ),
    epilog=example("compressor compare runs/a runs/b --out compare.html"),
)

"""``compressor ticket``; heavy imports live inside the function."""

import json
from pathlib import Path

import click

from compressor.either import example


@click.command("ticket", epilog=example("compressor ticket runs/demo --out mine.safetensors"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file; in RUN, ticket.safetensors, if left."
)
@click.option("--quiet", is_flag=True, help="Only warnings on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print what is in it as JSON.")
def ticket_command(run: Path, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Write the ticket of a RUN: structure, first and found weights, and how to build it."""
    from compressor.console import Console
    from compressor.tickets.make import TICKET_NAME, make_ticket

    file = out or run / TICKET_NAME
    ticket = make_ticket(run, file, Console(quiet=quiet))
    record = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "recipe": ticket.head.recipe,
        "method": ticket.head.method,
        "units": ticket.structure.num_units,
        "kept": ticket.structure.num_kept,
        "masks": ticket.head.masks,
        "tensors_sha256": ticket.head.tensors_sha256,
    }
    click.echo(json.dumps(record, indent=2) if as_json else str(file))

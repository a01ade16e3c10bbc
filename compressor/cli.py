"""The command line, put together; each command lives with what it does."""

import click

from compressor.commands.group import Commands
from compressor.commands.look_up import data, list_command, show
from compressor.commands.pipeline import pipeline_commands
from compressor.compare.command import compare_command
from compressor.doctor.command import doctor
from compressor.either import example
from compressor.hub.command import pull_command, push_command
from compressor.init.command import init_command
from compressor.sizes.command import family_command, slice_command
from compressor.tickets.command import ticket_command
from compressor.transfer.command import transfer_command

EXAMPLE = example("compressor run digits", "compressor COMMAND --help")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLE)
@click.version_option(package_name="compressor")
def main() -> None:
    """Train a vision network sparse, strip it physically, prove it, export it, time it."""


for command in pipeline_commands():
    main.add_command(command)
main.add_command(init_command)
main.add_command(doctor)
main.add_command(slice_command)
main.add_command(family_command)
main.add_command(compare_command)
main.add_command(transfer_command)
main.add_command(ticket_command)
main.add_command(push_command)
main.add_command(pull_command)
main.add_command(show)
main.add_command(list_command)
main.add_command(data)


if __name__ == "__main__":
    main()

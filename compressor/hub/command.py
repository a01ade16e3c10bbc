"""``compressor push`` and ``compressor pull``; heavy imports live inside the functions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.either import example

if TYPE_CHECKING:
    from compressor.hub.hand_on import Handed

_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print name, source, target, files, num_bytes as JSON."
)


@click.command(
    "push",
    epilog=example("compressor push runs/demo shelf/demo", "compressor push slim hf:me/slim"),
)
@click.argument("package", type=click.Path(path_type=Path))
@click.argument("target")
@click.option(
    "--private",
    is_flag=True,
    help="Make a repository that is not there yet a private one; refuse one that is public.",
)
@_JSON
def push_command(package: Path, target: str, private: bool, as_json: bool) -> None:
    """Put a PACKAGE to TARGET, a folder or hf:owner/name; checked before it leaves.

    It goes as it is, with the few validation images in samples.safetensors.
    """
    from compressor.hub.hand_on import push

    _tell(push(package, target, private=private), as_json=as_json)


@click.command(
    "pull",
    epilog=example("compressor pull hf:me/slim slim", "compressor pull hf:me/slim@v1 slim"),
)
@click.argument("target")
@click.argument("folder", type=click.Path(path_type=Path))
@_JSON
def pull_command(target: str, folder: Path, as_json: bool) -> None:
    """Get the package at TARGET, a folder or hf:owner/name, into FOLDER; checked, not executed."""
    from compressor.hub.hand_on import pull

    _tell(pull(target, folder), as_json=as_json)


def _tell(handed: "Handed", *, as_json: bool) -> None:
    click.echo(json.dumps(handed.to_json(), indent=2) if as_json else handed.line())

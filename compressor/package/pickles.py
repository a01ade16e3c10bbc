"""Finds pickle streams in files: unpickling runs code, so a package holds none."""

import io
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from compressor.errors import CheckError

PROTO = 0x80
"""Opcode that opens every pickle since protocol 2; its argument is the protocol."""

PROTOCOLS = range(2, 6)

ZIP_MAGIC = b"PK"


def pickles_in(path: Path) -> list[str]:
    """Names of what is a pickle stream: the file, or members of it if it is a zip archive.

    A stream opens with the opcode and number of a protocol, and parses up to the opcode that ends
    it. Protocols 0 and 1 open with any letter and are not told apart from text. Members of
    archives in archives are looked at too; nothing is executed.

    Raises:
        CheckError: An archive is broken.
    """
    with path.open("rb") as file:
        try:
            return list(_pickles(file, path.name))
        except zipfile.BadZipFile as failure:
            raise CheckError(
                f"{path} is a broken archive ({failure}). Get the file anew."
            ) from failure


def _pickles(file: IO[bytes], name: str) -> Iterator[str]:
    if _is_pickle(file):
        yield name
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    yield from _in_member(stream, f"{name}:{member}")


def _in_member(stream: IO[bytes], name: str) -> Iterator[str]:
    """Like ``_pickles``; reads only members that may be what is looked for: weights are large."""
    head = stream.read(2)
    if head == ZIP_MAGIC or _opens_pickle(head):
        yield from _pickles(io.BytesIO(head + stream.read()), name)


def _opens_pickle(head: bytes) -> bool:
    return len(head) == 2 and head[0] == PROTO and head[1] in PROTOCOLS


def _is_pickle(file: IO[bytes]) -> bool:
    file.seek(0)
    if not _opens_pickle(file.read(2)):
        return False
    file.seek(0)
    # In memory: a length that is only noise would have a file reserve as much before it reads.
    stream = io.BytesIO(file.read())
    try:
        for _ in pickletools.genops(stream):
            pass
    except (ValueError, struct.error):
        return False
    return True

"""Finds pickle streams in files: unpickling runs code, so a package holds none."""

import io
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from compressor.errors import CheckError

PROTO = 0x80
"""Opcode that opens every pickle since protocol 2; its argument is the protocol."""

PROTOCOLS = range(2, 6)

ZIP_MAGIC = b"PK"

OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}

STOP = "STOP"
"""Opcode that ends a whole stream."""

IMPORTS = ("GLOBAL", "INST")
"""Opcodes that import what the lines behind them name."""

IMPORTS_FROM_TEXTS = "STACK_GLOBAL"
"""The opcode that imports what two texts before it name."""

TEXTS = tuple(o.name for o in pickletools.opcodes if "STRING" in o.name or "UNICODE" in o.name)
"""Opcodes that make a text."""

TWO_LINES = "stringnl_noescape_pair"

LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
"""Kinds of arguments that begin with their length -> its bytes, and whether it has a sign."""

BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError)
"""What `zipfile` raises on archives that it cannot read to the end."""


def pickles_in(path: Path) -> list[str]:
    """Names of what is a pickle stream: the file, or members of it if it is a zip archive.

    A stream opens with the opcode and number of a protocol. It counts if it goes on up to the
    opcode that ends it, or if it imports anything before it breaks off: unpicklers go opcode by
    opcode, and what one has called by then was called. Protocols 0 and 1 open with any letter and
    are not told apart from text. Members of archives in archives are looked at too; nothing is
    executed.

    Raises:
        CheckError: An archive is broken.
    """
    with path.open("rb") as file:
        try:
            return list(_pickles(file, path.name))
        except BROKEN as failure:
            raise broken_archive(path, failure) from failure


def broken_archive(path: Path, failure: BaseException) -> CheckError:
    """What is said of an archive that cannot be read."""
    return CheckError(f"{path} is a broken archive ({failure}). Get the file anew.")


def _pickles(file: IO[bytes], name: str) -> Iterator[str]:
    if _is_pickle(file):
        yield name
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            # By their entries: of two members of one name a name opens the last alone.
            for member in archive.infolist():
                with archive.open(member) as stream:
                    yield from _in_member(stream, f"{name}:{member.filename}")


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
    has_text = False
    for name, argument in _opcodes(file.read()):
        if name == STOP or (name in IMPORTS and _names_module(argument)):
            return True
        # An import is what all calls begin with. Without a text before it, it fails, as it mostly
        # does where numbers happen to look like one.
        if name == IMPORTS_FROM_TEXTS and has_text:
            return True
        has_text = has_text or name in TEXTS
    return False


def _names_module(argument: bytes) -> bool:
    """Whether the first of the two lines can be the name of a module: text, and not empty."""
    line = argument.split(b"\n", maxsplit=1)[0]
    try:
        return bool(line.decode())
    except UnicodeDecodeError:
        return False


def _opcodes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Opcodes with their arguments, up to what is none.

    Arguments are stepped over and not read: unpicklers take some that `pickletools` refuses.
    """
    place = 0
    while place < len(data) and (opcode := OPCODES.get(data[place])) is not None:
        end = _end_of(opcode.arg, data, place + 1)
        if end is None:
            return
        yield opcode.name, data[place + 1 : end]
        place = end


def _end_of(argument: pickletools.ArgumentDescriptor | None, data: bytes, start: int) -> int | None:
    """Place behind an argument that begins at ``start``; None where the data ends before it."""
    if argument is None:
        return start
    if argument.n == pickletools.UP_TO_NEWLINE:
        return _end_of_lines(data, start, 2 if argument.name == TWO_LINES else 1)
    if argument.n >= 0:
        end = start + argument.n
    else:
        width, signed = LENGTHS[argument.n]
        length = int.from_bytes(data[start : start + width], "little", signed=signed)
        if length < 0:
            return None
        end = start + width + length
    return end if end <= len(data) else None


def _end_of_lines(data: bytes, start: int, number: int) -> int:
    """Place behind so many lines; the end of the data ends a line too."""
    for _ in range(number):
        start = data.find(b"\n", start) + 1 or len(data)
    return start

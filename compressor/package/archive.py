"""The archive of a `torch.export` program: numbers and text, and nothing that torch unpickles.

`torch.export.load` unpickles example inputs, constants that are no tensors, tensors of which the
archive says that they are pickled, and the weights of older archives; libraries of machine code it
loads. How a stream begins is no help there, since those of protocol 0 are taken as well. So all is
refused that is not known to be numbers or text.
"""

import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor.package.pickles import BROKEN, broken_archive

TEXT = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(?:version|serialization_id)|models/[^/]+\.json"
)
"""Members that are read as text, below the archive's own folder."""

TENSOR_LIST = re.compile(r"data/(weights|constants)/[^/]+_\1_config\.json")
"""What says of each tensor how it is stored."""

NUMBERS = re.compile(r"data/(?:weights/weight|constants/tensor)_\d+")
"""Bytes of tensors; numbers as long as no list says that they are pickled."""

EXAMPLES = re.compile(r"data/sample_inputs/[^/]+\.pt")
"""Example inputs: a pickle, unless they are empty."""

END = struct.Struct("<4s8xLLH")
"""Ends an archive: a mark, the length and place of the list of members, a comment's length."""

END_64, LOCATOR = struct.Struct("<4s36xQQ"), struct.Struct("<4s4xQ4x")
"""Stand before it where numbers may be longer: the same list anew, and where that is said."""

END_MARK, END_64_MARK, LOCATOR_MARK = b"PK\5\6", b"PK\6\6", b"PK\6\7"

LONGER = 0xFFFFFFFF
"""Says that a number stands in the longer end."""


def unplain_in(path: Path) -> list[str]:
    """Names of the members that are not known to be numbers or text, or say that others are not.

    Raises:
        CheckError: The archive is broken, or its list of members can be read in two ways.
    """
    _check_end(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            folder = members[0].filename.partition("/")[0] if members else ""
            found = [m.filename for m in members if not _is_plain(archive, m, f"{folder}/")]
            # Torch takes no notice of capitals, and of two members of one name the first.
            names = [member.filename.lower() for member in members]
    except BROKEN as failure:
        raise broken_archive(path, failure) from failure
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    return [f"{path.name}:{name}" for name in (*found, *twice)]


def _is_plain(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: str) -> bool:
    # Another name in an extra field is one that torch takes no notice of.
    if member.filename != member.orig_filename or not member.filename.startswith(folder):
        return False
    name = member.filename.removeprefix(folder)
    if EXAMPLES.fullmatch(name):
        return member.file_size == 0
    if TENSOR_LIST.fullmatch(name):
        return _lists_numbers(json.loads(archive.read(member)))
    return bool(TEXT.fullmatch(name) or NUMBERS.fullmatch(name))


def _lists_numbers(value: Mapping[str, Any]) -> bool:
    """Whether a list of tensors has only such as are stored as their numbers."""
    try:
        return all(entry["use_pickle"] is False for entry in value["config"].values())
    except (KeyError, TypeError, AttributeError):
        return False


def _check_end(path: Path) -> None:
    """Raise unless the list of members stands where the end says, and right before it.

    `zipfile` goes by the one and torch by the other: each could be shown members of its own.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_64.size - LOCATOR.size - END.size))
        tail = file.read()
    if not _has_one_list(tail, size):
        raise broken_archive(path, ValueError("its list of members is not at its end"))


def _has_one_list(tail: bytes, size: int) -> bool:
    if len(tail) < END.size:
        return False
    mark, length, place, comment = END.unpack(tail[-END.size :])
    if mark != END_MARK or comment:
        return False
    locator = tail[-END.size - LOCATOR.size : -END.size]
    if not locator.startswith(LOCATOR_MARK):
        return bool(place + length == size - END.size)
    end = size - END_64.size - LOCATOR.size - END.size
    if end < 0 or LOCATOR.unpack(locator)[1] != end:
        return False
    mark_64, length_64, place_64 = END_64.unpack(tail[: END_64.size])
    return bool(
        mark_64 == END_64_MARK
        and place_64 + length_64 == end
        and length in (length_64, LONGER)
        and place in (place_64, LONGER)
    )

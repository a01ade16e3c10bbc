"""Files and folders that appear whole or not at all, and their fingerprints."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

HASH_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to ``path`` when the block ends well.

    A failure inside the block leaves whatever stood at ``path`` before, and no temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    # mkstemp makes private files; what a user finds should follow the umask like any other file.
    umask = os.umask(0)
    os.umask(umask)
    mode = 0o666 & ~umask
    try:
        with _os_errors(path):
            yield temporary
            # Writers that put a file of their own in its place choose its mode themselves.
            temporary.chmod(mode)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the place of ``path`` when the block ends well.

    A failure inside the block leaves whatever stood at ``path`` before, and no temporary folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with _os_errors(path):
            yield temporary
            replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """Make what the system refuses an ``OSError`` that names ``path``, whoever was writing.

    A failed write names no file, and safetensors raises an error of its own for a full disk.
    """
    try:
        yield
    except SafetensorError as failure:
        number = re.search(r"\(os error (\d+)\)", str(failure))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from failure
    except OSError as failure:
        if failure.filename is None:
            failure.filename = str(path)
        raise


def replace_folder(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; an older ``target`` goes only once the new one stands.

    Between the two renames, for an instant, neither stands there: a folder cannot be replaced in
    one step everywhere.
    """
    if not target.exists():
        source.replace(target)
        return
    outgoing = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.replace(outgoing / target.name)
    source.replace(target)
    shutil.rmtree(outgoing, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def share_file(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``; a copy of it on a disk that has no links.

    Files are replaced and never written into, so that a change of one leaves the other as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def append_line(path: Path, line: str) -> None:
    """Append ``line`` to a text file; if it cannot be written whole, no part of it stays."""
    with _os_errors(path), path.open("ab", buffering=0) as file:
        end = file.tell()
        data = f"{line}\n".encode()
        try:
            if (written := file.write(data)) != len(data):
                # The system takes what still fits and only refuses the rest.
                file.write(data[written:])
        except OSError:
            file.truncate(end)
            raise


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

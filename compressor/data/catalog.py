"""The one list of data sources, the settings that choose one, and the cut of its validation set."""

import os
from dataclasses import replace
from pathlib import Path

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from compressor.console import Console
from compressor.data.arrays import IdxFolder, Npz
from compressor.data.cifar10 import CIFAR10
from compressor.data.classes import LEAST_CLASSES, only_classes
from compressor.data.digits import Digits
from compressor.data.fashion_mnist import FASHION_MNIST
from compressor.data.folder import ImageFolder
from compressor.data.mnist import MNIST, MNIST_5K
from compressor.data.pictures import Broken, Resize
from compressor.data.source import ImageData, RawData, Source, Split
from compressor.data.split import hold_out
from compressor.errors import DataError, RecipeError
from compressor.overrides import nearest
from compressor.settings import Settings

ROOT_VARIABLE = "COMPRESSOR_DATA"
"""Environment variable that names the folder for fetched data."""

IMAGE_FOLDER = ImageFolder()

_ALL: tuple[Source, ...] = (
    Digits(),
    MNIST_5K,
    MNIST,
    FASHION_MNIST,
    CIFAR10,
    IMAGE_FOLDER,
    Npz(),
    IdxFolder(),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


class DataSettings(Settings):
    """Which images a run uses."""

    source: str = Field(description="Name of a data source; `compressor list data` shows all.")
    path: str | None = Field(
        default=None,
        description="Place of your own data, for image-folder, npz and idx only; "
        "may be relative to the current folder.",
    )
    image_size: int | None = Field(
        default=None,
        ge=1,
        description="Width and height to which image-folder resizes, in pixels; it needs one.",
    )
    resize: Resize = Field(
        default="stretch",
        # Stages of runs without a choice keep the keys that they had before there was one.
        exclude_if=lambda value: value == "stretch",
        description="How image-folder makes squares: `stretch`, or `crop`, the middle after "
        "scaling the shorter side, as most networks of the ImageNet were trained.",
    )
    broken: Broken = Field(
        default="refuse",
        exclude_if=lambda value: value == "refuse",
        description="What image-folder does with files that cannot be read: `refuse`, or "
        "`leave-out`, with a warning that names them.",
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        strict=False,
        exclude_if=lambda value: value is None,
        description="Mean of each channel that inputs are normalised with, for pixels in [0, 1]; "
        "that of the training images if not set. A trained network needs the one it knows.",
    )
    std: tuple[float, ...] | None = Field(
        default=None,
        strict=False,
        exclude_if=lambda value: value is None,
        description="Standard deviation of each channel, > 0, along with `mean`.",
    )
    validation_share: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Share of each class of the training images that is held out for validation.",
    )
    train_images: int | None = Field(
        default=None,
        ge=1,
        description="Train on this many images only, the first after the seeded shuffle; "
        "all of them if not set.",
    )
    classes: tuple[StrictStr | StrictInt, ...] | None = Field(
        default=None,
        # Strictness would refuse the lists that TOML and JSON have in place of tuples.
        strict=False,
        # Stages of runs without a choice keep the keys that they had before there was one.
        exclude_if=lambda value: value is None,
        description="The classes that are used, two or more, by name or by number from 0; labels "
        "are numbered in this order; all classes if not set.",
    )

    @field_validator("classes")
    @classmethod
    def _enough_classes(cls, classes: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if classes is not None and len(classes) < LEAST_CLASSES:
            raise ValueError(
                f"classes names {len(classes)} of them: give {LEAST_CLASSES} or more to tell apart"
            )
        return classes

    @field_validator("source")
    @classmethod
    def _source_is_known(cls, name: str) -> str:
        if name not in SOURCES:
            raise ValueError(_unknown(name))
        return name

    @model_validator(mode="after")
    def _path_fits_the_source(self) -> "DataSettings":
        takes_path = SOURCES[self.source].takes_path
        if takes_path and self.path is None:
            raise ValueError(f"path is not set: {self.source} needs the place of your data")
        if not takes_path and self.path is not None:
            raise ValueError(f"path is {self.path!r}, but {self.source} has a place of its own")
        return self

    @model_validator(mode="after")
    def _image_size_fits_the_source(self) -> "DataSettings":
        resizes = self.source == IMAGE_FOLDER.name
        if resizes and self.image_size is None:
            raise ValueError(f"image_size is not set: {self.source} needs it, in pixels")
        if not resizes and self.image_size is not None:
            raise ValueError(
                f"image_size is {self.image_size}, but only {IMAGE_FOLDER.name} resizes its images"
            )
        for name in ("resize", "broken"):
            if not resizes and name in self.model_fields_set:
                raise ValueError(f"{name} is for {IMAGE_FOLDER.name} alone: leave it out")
        return self

    @model_validator(mode="after")
    def _normalisation_is_whole(self) -> "DataSettings":
        if (self.mean is None) != (self.std is None):
            lacking = "mean" if self.mean is None else "std"
            raise ValueError(f"{lacking} is not set: give mean and std together, or neither")
        if self.std is not None and min(self.std, default=0.0) <= 0:
            raise ValueError(f"std is {list(self.std)}: give numbers above 0")
        return self


def data_root() -> Path:
    """Folder for fetched data: ``$COMPRESSOR_DATA``, or ``~/.cache/compressor/data``."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named or "~/.cache/compressor/data").expanduser()


def get_data(name: str, root: Path, console: Console) -> None:
    """Fetch the source called ``name`` into its folder below ``root``, if it is not there.

    Raises:
        RecipeError: No source has that name.
        DataError: No way to fetch it worked.
    """
    if name not in SOURCES:
        raise RecipeError(f"{_unknown(name)}.")
    SOURCES[name].get(root / name, console)


def load_data(settings: DataSettings, data_root: Path, seed: int) -> ImageData:
    """Read a source and cut its validation images out of its training images.

    The test images never depend on ``seed``. The images used for training are copied into memory.

    Args:
        settings: Which source, and how much of it.
        data_root: Folder below which fetched data lies.
        seed: Of the shuffle that decides what is held out and what ``train_images`` keeps.

    Raises:
        DataError: The data is not there (the message says how to get it), is broken, has not the
            classes or fewer images than asked for.
    """
    raw = _load_raw(settings, data_root)
    if settings.classes is not None:
        raw = only_classes(raw, settings.classes, settings.source)
    if settings.mean is not None and settings.std is not None:
        raw = replace(raw, mean=settings.mean, std=settings.std)
    train, validation = _cut_validation(raw.train, settings, seed)
    return ImageData(
        name=settings.source,
        train=train,
        validation=validation,
        test=raw.test,
        classes=raw.classes,
        mean=raw.mean,
        std=raw.std,
        notices=raw.notices,
    )


def _load_raw(settings: DataSettings, root: Path) -> RawData:
    source = SOURCES[settings.source]
    if source is IMAGE_FOLDER:
        source = replace(
            IMAGE_FOLDER,
            image_size=settings.image_size,
            cache=root / source.name,
            resize=settings.resize,
            broken=settings.broken,
        )
    if settings.path is not None:
        return source.load(Path(settings.path).expanduser())
    return source.load(root / source.name)


def _cut_validation(whole: Split, settings: DataSettings, seed: int) -> tuple[Split, Split]:
    rest, held = hold_out(whole.labels, settings.validation_share, seed)
    if not held.size:
        raise DataError(
            f"{settings.source} has one training image per class: "
            "give two or more, so that some can be held out for validation."
        )
    num_wanted = settings.train_images
    if num_wanted is not None and num_wanted > len(rest):
        raise DataError(
            f"train_images is {num_wanted}, but {settings.source} has {len(rest)} training images "
            f"beside {len(held)} for validation: ask for fewer."
        )
    return whole.take(rest[:num_wanted]), whole.take(held)


def _unknown(name: str) -> str:
    found = nearest(name, SOURCES)
    hint = f"choose from {', '.join(SOURCES)}" if found is None else f"did you mean {found!r}"
    return f"there is no data source {name!r}: {hint}"

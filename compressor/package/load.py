"""A package -> its network, checked before anything of it is used."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from compressor.files import read_json
from compressor.package.description import Description, Preprocessing, read_description
from compressor.package.manifest import DESCRIPTION, PLAN, WEIGHTS, check_files, package_folder
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan
from compressor.tasks.model import build_model
from compressor.tasks.weights import load_weights


@dataclass(frozen=True)
class Package:
    """A package in memory.

    Attributes:
        module: The slim network on the CPU, in evaluation mode.
        description: What the package says of it.
    """

    module: nn.Module
    description: Description

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each class; output ``i`` is the logit of ``labels[i]``."""
        return self.description.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """From pixels to what the network takes."""
        return self.description.preprocessing


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The slim network of the package in ``path``, on the CPU, in evaluation mode.

    Every file is first held against the manifest. That tells damage, not malice: where the network
    comes with a Python file, loading executes it, so load only packages of people you trust.

    Args:
        path: Folder of the package, or a run directory that has one.

    Raises:
        CheckError: Names the file that was changed, is missing or does not belong there.
        ModelError: There is no package, or its network cannot be built here.
    """
    return read(path).module


def read(path: str | os.PathLike[str]) -> Package:
    """The package in ``path``: its network as ``load`` gives it, labels, preprocessing.

    Args:
        path: Folder of the package, or a run directory that has one.

    Raises:
        CheckError: Names the file that was changed, is missing or does not belong there.
        ModelError: There is no package, or its network cannot be built here.
    """
    folder = package_folder(path)
    check_files(folder)
    return read_checked(folder)


def read_checked(folder: Path) -> Package:
    """Like ``read``, for a package whose files were just checked."""
    description = read_description(folder / DESCRIPTION)
    plan = StripPlan.from_json(read_json(folder / PLAN))
    module = apply(plan, _built(description, folder))
    load_weights(module, folder / WEIGHTS)
    return Package(module.eval(), description)


def _built(description: Description, folder: Path) -> nn.Module:
    channels = description.preprocessing.image_shape[0]
    with torch.random.fork_rng(devices=[]), _no_bytecode():
        torch.manual_seed(description.seed)
        return build_model(description.model, len(description.labels), channels, (folder,))


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Import without writing caches: they would be files that the package does not know."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before

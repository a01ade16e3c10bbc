"""The package of a whole run, and what tests do to copies of it."""

import shutil
from pathlib import Path

import pytest

from compressor.package.manifest import MANIFEST, seal


@pytest.fixture(scope="session")
def packed(digits_run):
    """The package that the recipe ``digits`` ends with; not to be written to."""
    return digits_run.folder / "package"


@pytest.fixture
def copied(packed, tmp_path):
    """A copy of the package that a test may change."""
    return Path(shutil.copytree(packed, tmp_path / "copied"))


@pytest.fixture
def reseal():
    """Write the manifest anew, as somebody would who changed a file on purpose."""

    def write(folder):
        (folder / MANIFEST).unlink()
        seal(folder)

    return write

"""Finished runs beside each other, whose files a test may change."""

import pytest

from ..report.conftest import EditableRun, build_run


@pytest.fixture
def runs(tmp_path):
    """Three runs of one recipe that differ in nothing but their entries."""
    names = ("first", "second", "third")
    return [EditableRun(build_run(tmp_path / name)) for name in names]

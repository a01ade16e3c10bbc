"""Finished runs beside each other, whose files a test may change."""

import pytest

from compressor.files import write_json

from ..report.conftest import EditableRun, build_run


@pytest.fixture
def runs(tmp_path):
    """Three runs of one recipe that differ in nothing but their entries."""
    folders = [build_run(tmp_path / name) for name in ("first", "second", "third")]
    counts = {"images": 500, "dense_right": 450, "slim_right": 440, "both_right": 430}
    for folder in folders:
        classes = [{"name": name, **counts} for name in ("cat", "dog")]
        write_json(folder / "verify/verify.json", {"classes": classes})
        write_json(folder / "places.json", {"model_folders": [], "data": None})
    return [EditableRun(folder) for folder in folders]

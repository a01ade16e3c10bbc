"""The trial as a new user: its folder of pictures, and its page."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import trial  # noqa: E402
import trial_page  # noqa: E402
import trial_pictures  # noqa: E402

from compressor.data.source import Split  # noqa: E402

CLASSES = ("cat", "dog")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_pictures, "COUNTS", (60, 20))
    images = np.zeros((100, 3, 32, 32), np.uint8)
    labels = np.repeat(np.arange(2), 50)
    labels[50:60] = 0
    made = trial_pictures.make_folder(tmp_path / "photos", Split(images, labels), CLASSES)
    return tmp_path / "photos", made


def opened(path):
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.mode, picture.size
    except (UnidentifiedImageError, OSError):
        return None


def test_the_folder_is_as_untidy_as_it_says(folder):
    place, made = folder
    found = {path: opened(path) for path in place.glob("*/IMG*")}
    modes = [picture[0] for picture in found.values() if picture is not None]
    assert made["pictures"] == len(found) == 80
    assert made["unreadable"] == list(found.values()).count(None)
    assert made["grey"] == modes.count("L") > 0
    assert made["with transparency"] == modes.count("RGBA") > 0
    assert made["other files"] == len([*place.glob("*.db"), *place.glob("*/*.txt")])
    assert len({picture[1] for picture in found.values() if picture}) > 20
    assert len(list((place / "cat").iterdir())) > 2 * len(list((place / "dog").iterdir()))


def test_the_folder_is_the_same_every_time(folder, tmp_path):
    place, _ = folder
    images, labels = np.zeros((100, 3, 32, 32), np.uint8), np.repeat(np.arange(2), 50)
    labels[50:60] = 0
    trial_pictures.make_folder(tmp_path / "again", Split(images, labels), CLASSES)
    for path in place.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(place)).read_bytes()


def test_a_script_of_six_lines_is_six_lines():
    assert trial.SIX_LINES.count("\n") == 6


def test_a_step_that_fails_ends_the_trial(tmp_path):
    steps = trial.Steps(tmp_path)
    assert steps.take("told", sys.executable, "-c", "print('it')") == "it\n"
    with pytest.raises(trial.subprocess.CalledProcessError):
        steps.take("failed", sys.executable, "-c", "raise SystemExit(3)")
    assert list(steps.seconds) == ["told"]


def network(accuracy, size):
    return {"accuracy": accuracy, "macs": size, "params": size, "bytes": size}


def test_the_page_sums_the_steps_of_the_user_alone():
    seconds = dict.fromkeys(trial_page.STEPS, 60.0) | dict.fromkeys(trial_page.BESIDE, 7.0)
    record = {
        "date": "2026-01-01",
        "machine": {"cpu": "x", "usable_cores": 2, "versions": {"torch": "1", "onnxruntime": "2"}},
        "seconds": seconds,
        "forecast_seconds": 61.2,
        "epochs": {"dense": 3, "search": 1, "tune": 2},
        "notices": ["2 files left out"],
        "answer": {"picture": "photos/ship/a.jpg", "labels": "['ship']\n"},
        "folder": {"pictures": 2000, "grey": 100},
        "summary": {
            "test_images": 400,
            "dense": network(0.9, 100),
            "slim": network(0.85, 50),
            "speedup": {"onnxruntime": {"1": {"median": 1.5, "low": 1.25, "high": 1.75}}},
            "certificate": {"max_rel_diff_fp32": 1e-7, "max_rel_diff_fp64": 1e-16},
        },
    }
    page = trial_page.as_markdown(record)
    assert "| together, 4.0 minutes | 240 |" in page
    assert "-5.00 points" in page
    assert "| MACs | 100 | 50 | 2.00x |" in page
    assert "1.50 (1.25 to 1.75)" in page

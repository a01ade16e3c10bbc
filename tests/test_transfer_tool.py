"""The transfer tool: its pairs, what it keeps, and its page; nothing is trained here."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from compressor.data.catalog import DataSettings, load_data
from compressor.data.source import Split
from compressor.files import read_json, write_json
from compressor.time_limit import TimeOver

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import transfer  # the tools are no package
import transfer_pairs

PAIR, HOW = transfer_pairs.PAIRS["mnist-fashion"], transfer_pairs.How()
OPTIONS = Namespace(seeds=3, max_minutes=1.0, images=None, device="auto")


def record(seeds):
    spread = {"mean": 0.9, "standard_error": 0.01, "values": [0.89, 0.91]}
    row = {
        **{"name": "dense", "weights": "fresh", "units": "all"},
        "accuracy": {"validation": spread, "test": spread},
        **{"macs": 1000, "macs_share": 1.0, "params": 100, "params_share": 1.0},
    }
    data = {"source": "mnist", "train_images": None, "path": None}
    return {
        **{
            "title": PAIR.title,
            "text": PAIR.text,
            "seconds": 60.0,
            "made_on": {"cpu": "C", "gpu": None, "versions": {"torch": "9.8"}},
            "date": "2026-01-02",
        },
        **{"data": {"from": data, "to": data}, "epochs": 5, "teacher_weight": 0.5},
        **{"seeds": list(range(seeds)), "notes": ["New head: x."], "rows": [row]},
    }


def keep(runs, seeds, **made_of):
    """Write the record of so many seeds as the tool does, of these things beside the true ones."""
    kept = runs / "runs" / PAIR.name / transfer.MEASURED
    write_json(kept, record(seeds) | {"made_of": {**transfer.made_of(PAIR, HOW), **made_of}})
    return kept


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(transfer, "DOCS", tmp_path / "docs")
    return tmp_path


@pytest.mark.parametrize("name", ["mnist-fashion", "cifar10-classes"])
def test_the_recipe_of_a_new_task_is_valid_and_names_other_data(name, tmp_path):
    recipe = transfer_pairs.PAIRS[name].recipe(tmp_path, transfer_pairs.How(images=100))
    assert recipe.tune.epochs > 0
    assert recipe.data.train_images == 100
    assert not {*transfer_pairs.ANIMALS} & {*(recipe.data.classes or ())}


def test_enlarged_images_repeat_each_pixel_and_keep_their_labels():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    few = transfer_pairs._enlarged(Split(images, np.arange(5)), 3)
    assert few.images.shape == (3, 3, 96, 96)
    np.testing.assert_array_equal(few.images[:, :, ::3, ::3], images[few.labels])


def test_what_is_saved_loads_with_its_classes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    split = Split(images, np.array([0, 0, 2, 2]))
    transfer_pairs._save(tmp_path / "x.npz", split, split, ["a", "b", "c"])
    settings = DataSettings(source="npz", path=str(tmp_path / "x.npz"), validation_share=0.5)
    data = load_data(settings, tmp_path, seed=0)
    assert (data.classes, len(data.test), len(data.validation)) == (("a", "b", "c"), 4, 2)


def test_a_pair_that_was_measured_is_not_measured_again(runs, monkeypatch):
    monkeypatch.setattr(transfer, "measured", lambda *_: pytest.fail("measured again"))
    keep(runs, 3)
    assert transfer.outcome(PAIR, OPTIONS) == record(3)


def test_more_seeds_than_were_measured_are_measured(runs, monkeypatch):
    kept = keep(runs, 1)
    monkeypatch.setattr(transfer, "measured", lambda _pair, seeds, _how: record(seeds))
    assert transfer.outcome(PAIR, OPTIONS) == record(3)
    assert read_json(kept) == record(3) | {"made_of": transfer.made_of(PAIR, HOW)}


def new_record(_pair, seeds, _how):
    return record(seeds) | {"new": True}


@pytest.mark.parametrize("other", [{"recipe": "another"}, {"versions": {"torch": "1.0"}}])
def test_what_was_measured_by_another_recipe_or_version_is_measured_again(runs, monkeypatch, other):
    keep(runs, 3, **other)
    assert transfer.kept_pairs(HOW) == {}
    monkeypatch.setattr(transfer, "measured", new_record)
    assert transfer.outcome(PAIR, OPTIONS) == record(3) | {"new": True}
    assert transfer.kept_pairs(HOW) == {PAIR.name: record(3) | {"new": True}}


def test_a_pair_that_takes_too_long_is_told_and_leaves_no_record(runs, monkeypatch, capsys):
    def over(seconds, work):
        raise TimeOver

    monkeypatch.setattr(transfer, "within", over)
    assert transfer.main(["--only", PAIR.name, "--max-minutes", "2"]) == 1
    assert f"{PAIR.name}: not done after 2 minutes; start the tool again" in capsys.readouterr().err
    assert "Not measured yet: MNIST -> Fashion-MNIST; CIFAR-10" in (
        runs / "docs" / "transfer.md"
    ).read_text(encoding="utf-8")


def test_the_page_shows_the_pairs_that_are_whole_and_names_the_others(runs):
    keep(runs, 3)
    assert transfer.main(["--only", PAIR.name]) == 0
    page = (runs / "docs" / "transfer.md").read_text(encoding="utf-8")
    assert "## MNIST -> Fashion-MNIST" in page
    assert "| dense | fresh | all | 90.00 ± 1.00 |" in page
    assert "took 1 minutes; C, torch 9.8." in page
    missing = next(line for line in page.splitlines() if line.startswith("Not measured yet"))
    assert "MNIST -> Fashion" not in missing
    written = read_json(runs / "docs" / "transfer.json")
    assert list(written["pairs"]) == [PAIR.name]
    assert written["command"].endswith("--only mnist-fashion")


def test_an_unknown_pair_is_refused_with_the_known_ones(runs, capsys):
    with pytest.raises(SystemExit):
        transfer.main(["--only", "x"])
    assert "there are mnist-fashion, cifar10-classes, imagenet-cifar10" in capsys.readouterr().err

"""The table of a transfer: figures over seeds, and how it is shown."""

import pytest

from compressor.transfer.table import as_text, over_seeds, told_of


def row(name, tests, dense=None):
    accuracy = {"validation": over_seeds(tests), "test": over_seeds(tests)}
    sizes = {"macs": 1000, "macs_share": 0.25, "params": 100, "params_share": 0.5}
    found = {"name": name, "weights": "fresh", "units": "all", "accuracy": accuracy, **sizes}
    if dense is None:
        return found
    behind = [ours - theirs for ours, theirs in zip(tests, dense, strict=True)]
    return {**found, "against_dense": over_seeds(behind)}


@pytest.fixture
def record():
    data = {"source": "cifar10", "train_images": 6000}
    return {
        "date": "2026-01-02",
        "run": "runs/a",
        "found_by": "dessilbi",
        "recipe": "vehicles",
        "data": {"from": {**data, "classes": ["bird", "cat"]}, "to": data},
        "epochs": 10,
        "teacher_weight": 0.5,
        "seeds": [0, 1],
        "notes": ["New head: classifier.weight."],
        "rows": [row("dense", [0.90, 0.92]), row("ticket", [0.89, 0.93], [0.90, 0.92])],
    }


def test_the_standard_error_is_that_of_the_mean():
    assert over_seeds([0.8, 0.9, 1.0])["mean"] == pytest.approx(0.9)
    assert over_seeds([0.8, 0.9, 1.0])["standard_error"] == pytest.approx(0.1 / 3**0.5)


def test_one_seed_has_no_standard_error():
    assert over_seeds([0.8]) == {"mean": 0.8, "standard_error": None, "values": [0.8]}


def test_a_data_set_is_told_with_its_classes_and_its_number_of_images(record):
    assert told_of(record["data"]["from"]) == "cifar10 (bird cat), 6,000 training images"
    assert told_of({"source": "mnist", "train_images": None}) == "mnist"


def test_a_line_shows_the_difference_within_each_seed(record):
    ticket = next(line for line in as_text(record).splitlines() if line.startswith("| ticket"))
    assert "| 91.00 ± 2.00 | 91.00 ± 2.00 | +0.00 ± 1.00 | 1,000 (25.0%) | 100 (50.0%) |" in ticket


def test_the_page_says_what_all_rows_have_in_common(record):
    page = as_text(record)
    assert "Epochs of every row: 10; seeds 0, 1, mean and standard error." in page
    assert "All but dense learn 0.5 of their loss from dense" in page
    assert "New head: classifier.weight." in page
    assert "learn" not in as_text({**record, "teacher_weight": 0.0})

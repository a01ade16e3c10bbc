"""The tools that compare sizes and orders: small, whole, and resumed."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import orders  # noqa: E402
import sizes  # noqa: E402

from compressor.files import read_json  # noqa: E402
from compressor.recipe import find_recipe, load_recipe  # noqa: E402

QUICK = ("--recipe", "digits", "--set", "train.epochs=2", "--set", "tune.epochs=1")
QUICK += ("--set", "strip.floor_share=0.05", "--set", "data.validation_share=0.2")


def short(monkeypatch):
    monkeypatch.setattr(sizes, "SHARES", (0.5,))
    monkeypatch.setattr(orders, "SHARES", (0.5,))
    monkeypatch.setattr(orders, "RULES", (("score", "cut"), ("random", "uniform")))


@pytest.fixture
def places(tmp_path):
    return ("--seeds", "1", "--out", str(tmp_path / "runs"), "--docs", str(tmp_path))


def test_every_rival_has_the_size_asked_for(monkeypatch, places, tmp_path):
    short(monkeypatch)
    only = ("--only", "dessilbi,magnitude,random,uniform")
    sizes.main([*QUICK, *places, *only])
    table = read_json(tmp_path / "sizes-digits.json")
    assert [row["row"] for row in table["rows"]] == list(sizes.TITLES)
    assert all(0.4 < row["macs_share"] <= 0.5 for row in table["rows"])
    assert all(0 <= row["accuracy"][0] <= 1 for row in table["rows"])
    first = (tmp_path / "sizes-digits.md").read_text()
    monkeypatch.setattr(sizes, "train", None)  # nothing is trained again
    sizes.main([*QUICK, *places, *only, "--minutes", "0"])
    assert (tmp_path / "sizes-digits.md").read_text() == first


def test_orders_are_compared_with_the_default_of_the_same_seed(monkeypatch, places, tmp_path):
    short(monkeypatch)
    orders.main([*QUICK, *places])
    rows = read_json(tmp_path / "orders.json")["rows"]
    assert [(row["order"], row["widths"]) for row in rows] == list(orders.RULES)
    assert rows[0]["to_default"] == [0.0, 0.0]
    gap = rows[1]["accuracy"][0] - rows[0]["accuracy"][0]
    assert rows[1]["to_default"][0] == pytest.approx(gap)
    assert "| 0.5 | random | uniform |" in (tmp_path / "orders.md").read_text()


def test_widths_are_narrowed_whichever_way_a_network_takes_them():
    listed = load_recipe(find_recipe("digits"))
    assert sizes.narrowed(listed, 0.5).arguments["widths"] == [8, 16]
    factor = load_recipe(find_recipe("cifar10-resnet20"))
    assert sizes.narrowed(factor, 0.5).arguments["width"] == 0.5


def test_the_gap_is_that_to_the_rival_of_the_same_seed():
    rows = [
        {"row": name, "share": 0.5, "seed": seed, "accuracy": accuracy, "macs_share": 0.5}
        for name, values in (("dessilbi", (0.9, 0.8)), ("uniform", (0.85, 0.79)))
        for seed, accuracy in enumerate(values)
    ]
    found = {row["row"]: row for row in sizes.summary(rows)}
    assert found["dessilbi"]["ahead"] is None
    assert found["uniform"]["ahead"][0] == pytest.approx(0.03)
    assert found["uniform"]["ahead"][1] == pytest.approx(0.02)

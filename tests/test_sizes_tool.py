"""The tools that compare sizes and orders: small, whole, and resumed."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import orders  # noqa: E402
import sizes  # noqa: E402
import sizes_page  # noqa: E402
from seeds import mean_and_error, spread  # noqa: E402

from compressor.files import read_json  # noqa: E402
from compressor.recipe import find_recipe, load_recipe  # noqa: E402

SETTINGS = ("model.arguments.widths=[8, 12]", "train.epochs=2", "tune.epochs=1", "dense.epochs=1")
SETTINGS += ("strip.floor_share=0.05", "strip.round_to=1", "strip.engine=index-flow")
SETTINGS += ("tune.norm_batches=1",)
QUICK = ("--recipe", "digits", *(word for setting in SETTINGS for word in ("--set", setting)))


def short(monkeypatch):
    monkeypatch.setattr(sizes, "SHARES", (0.5,))
    monkeypatch.setattr(sizes_page, "SHARES", (0.5,))
    monkeypatch.setattr(orders, "SHARES", (0.5,))
    rules = (orders.Rule("score", "cut"), orders.Rule("random", "uniform"))
    monkeypatch.setattr(orders, "RULES", (*rules, orders.Rule("score", "cut", floor=0.9)))


@pytest.fixture
def places(tmp_path):
    return ("--seeds", "1", "--out", str(tmp_path / "runs"), "--docs", str(tmp_path))


def test_every_rival_has_the_size_asked_for(monkeypatch, places, tmp_path):
    short(monkeypatch)
    only = ("--only", "dessilbi,magnitude,random,uniform")
    sizes.main([*QUICK, *places, *only])
    table = read_json(tmp_path / "sizes-digits.json")
    assert [row["row"] for row in table["rows"]] == list(sizes.TITLES)
    assert all(0.35 < row["macs_share"] <= 0.5 for row in table["rows"])
    assert all(0 <= row["accuracy"][0] <= 1 for row in table["rows"])
    first = (tmp_path / "sizes-digits.md").read_text()
    monkeypatch.setattr(sizes, "train", None)  # nothing is trained again
    sizes.main([*QUICK, *places, *only, "--minutes", "0"])
    assert (tmp_path / "sizes-digits.md").read_text() == first


def test_every_uniform_network_has_files_of_its_own(tmp_path):
    names = {sizes.beside(tmp_path / f"uniform-{share:g}", ".json").name for share in sizes.SHARES}
    assert names == {"uniform-0.5.json", "uniform-0.25.json", "uniform-0.125.json"}


def test_a_uniform_network_of_another_recipe_is_trained_again(monkeypatch, tmp_path):
    options = Namespace(recipe="digits", overrides=(), out=tmp_path)
    monkeypatch.setattr(sizes.Seeded, "_train_uniform", lambda _self, share: {"accuracy": share})
    assert sizes.Seeded(options, 0).row("uniform", 0.5)["accuracy"] == 0.5
    assert sizes.Seeded(options, 0).row("uniform", 0.25)["accuracy"] == 0.25
    monkeypatch.setattr(sizes.Seeded, "_train_uniform", lambda *_: {"accuracy": 1.0})
    assert sizes.Seeded(options, 0).row("uniform", 0.5)["accuracy"] == 0.5
    options.overrides = ("tune.epochs=2",)
    assert sizes.Seeded(options, 0).row("uniform", 0.5)["accuracy"] == 1.0


def test_orders_are_compared_with_the_default_of_the_same_seed(
    monkeypatch, places, tmp_path, capsys
):
    short(monkeypatch)
    orders.main([*QUICK, *places])
    rows = read_json(tmp_path / "orders.json")["rows"]
    # A floor above the size is told, and left out of the table.
    assert [orders.rule_of(row) for row in rows] == [(rule, 0.5) for rule in orders.RULES[:2]]
    assert "no score-cut-floor0.9 at 0.5: The budget keeps 0.5" in capsys.readouterr().err
    assert rows[0]["to_default"] == [0.0, 0.0]
    gap = rows[1]["accuracy"][0] - rows[0]["accuracy"][0]
    assert rows[1]["to_default"][0] == pytest.approx(gap)
    assert "| 0.5 | random | uniform |  |" in (tmp_path / "orders.md").read_text()


def test_widths_are_narrowed_whichever_way_a_network_takes_them():
    listed = load_recipe(find_recipe("digits"))
    assert sizes.narrowed(listed, 0.5).arguments["widths"] == [8, 16]
    factor = load_recipe(find_recipe("cifar10-resnet20"))
    assert sizes.narrowed(factor, 0.5).arguments["width"] == 0.5


def test_a_single_value_has_no_error():
    assert mean_and_error([0.5]) == (0.5, 0.0)
    assert spread([0.5])["standard_error"] is None
    assert mean_and_error([0.0, 1.0]) == (0.5, pytest.approx(0.5))


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

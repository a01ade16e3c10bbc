"""The tool that searches trained networks: small, whole, and resumed."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import given  # noqa: E402
import given_page  # noqa: E402

from compressor.files import read_json  # noqa: E402

SETTINGS = ("model.arguments.widths=[8, 12]", "dense.epochs=1", "strip.floor_share=0.05")
SETTINGS += ("strip.round_to=1", "strip.engine=index-flow", "tune.norm_batches=1")
QUICK = ("--recipe", "digits", *(word for setting in SETTINGS for word in ("--set", setting)))
QUICK += ("--search", "1", "--tune", "1", "--seeds", "1", "--device", "cpu")


def row(name, accuracy, share=0.5, tune_lr=0.1, seed=0):
    place = {"row": name, "share": share, "tune_lr": tune_lr, "seed": seed}
    return place | {"accuracy": accuracy, "macs_share": share}


def test_a_row_is_compared_at_its_own_size_rate_and_seed():
    rows = [row(given_page.OURS, 0.8, seed=0), row(given_page.OURS, 0.7, seed=1)]
    rows += [row(given_page.OURS, 0.1, share=0.25), row(given_page.OURS, 0.2, tune_lr=0.2)]
    rows += [row("magnitude", 0.75, seed=0), row("magnitude", 0.6, seed=1)]
    of_rival = [found for found in given_page.summary(rows) if found["row"] == "magnitude"]
    assert len(of_rival) == 1
    assert of_rival[0]["ahead"] == pytest.approx((0.075, 0.025))


def test_a_row_without_a_partner_is_ahead_of_none():
    (found,) = given_page.summary([row("magnitude", 0.75)])
    assert found["ahead"] is None


def test_every_row_of_the_page_has_a_search_and_a_title():
    assert given_page.TITLES.keys() == {"dense", *given.SEARCHES}


def test_slices_of_one_search_are_tuned_at_every_rate_and_kept(tmp_path, capfd):
    places = ("--out", str(tmp_path / "runs"), "--docs", str(tmp_path))
    which = ("--only", "lam-2", "--tune-lr", "0.01,0.02", "--note", "Digits, few epochs.")
    given.main([*QUICK, *places, *which])
    table = read_json(tmp_path / "given-digits.json")
    found = {(r["row"], r["share"], r["tune_lr"]) for r in table["rows"]}
    slices = {("lam-2", share, lr) for share in (0.5, 0.25) for lr in (0.01, 0.02)}
    assert found == {("dense", 1.0, None), *slices}
    assert all(r["macs_share"] <= r["share"] for r in table["rows"])
    assert "\n\nDigits, few epochs.\n\n" in (tmp_path / "given-digits.md").read_text()
    searched = tmp_path / "runs" / "digits" / "seed0" / "lam-2" / "train" / "weights.safetensors"
    before = searched.stat().st_mtime_ns
    given.main([*QUICK, *places, *which])
    assert searched.stat().st_mtime_ns == before
    assert read_json(tmp_path / "given-digits.json")["rows"] == table["rows"]

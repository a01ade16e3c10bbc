"""The rows of a transfer: what each starts from and keeps, in ordinary run directories."""

import io

import pytest
import torch
from safetensors.torch import load_file

from compressor.console import Console
from compressor.errors import ModelError, RecipeError
from compressor.files import read_json
from compressor.structure import Structure
from compressor.transfer import make
from compressor.transfer.make import TransferPlan, make_transfer, transferred_recipe
from compressor.transfer.rows import ROWS, random_like

QUICK = ("tune.epochs=1", "tune.batch_size=16", "dense.batch_size=16")
HEAD = {"classifier.weight", "classifier.bias"}


def transfer(origin, recipe, out):
    stream = io.StringIO()
    record = make_transfer(origin, TransferPlan(out, recipe), Console(stream=stream), "cpu")
    return record, stream.getvalue()


@pytest.fixture(scope="module")
def made(origin, high, tmp_path_factory):
    """A whole transfer but for the packages, which need a process of their own each."""
    out = tmp_path_factory.mktemp("transfer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "LAST_STAGE", "verify")
        record, said = transfer(origin, high, out)
    return out, record, said


def weights(made, row, stage):
    return load_file(made[0] / "seed-0" / row / stage / "weights.safetensors")


def kept(made, row):
    path = made[0] / "seed-0" / row / "strip" / "structure.json"
    return Structure.from_json(read_json(path)).keep


def test_the_ticket_starts_as_the_tuned_slim_network_with_a_new_head(made, origin):
    start = weights(made, "ticket", "strip")
    tuned = load_file(origin.run.path("tune", "weights.safetensors"))
    assert start.keys() == tuned.keys()
    assert all(torch.equal(start[n], tuned[n]) for n in start.keys() - HEAD)
    assert not any(torch.equal(start[n], tuned[n]) for n in HEAD)


def test_both_tickets_keep_the_units_of_the_run_exactly(made, origin):
    for row in ("ticket", "ticket-fresh"):
        found = kept(made, row)
        assert all(torch.equal(found[n], units) for n, units in origin.structure.keep.items())


def test_fresh_weights_are_those_of_no_run_and_as_large_as_if_drawn_for_their_widths(made, origin):
    start, tuned = weights(made, "ticket-fresh", "strip"), weights(made, "ticket", "strip")
    name = "blocks.1.conv2.weight"
    assert start[name].shape == tuned[name].shape
    assert not torch.equal(start[name], tuned[name])
    whole = weights(made, "ticket-fresh", "dense")[name]
    # PyTorch draws uniformly below one over the root of a filter's inputs.
    bound = start[name][0].numel() ** -0.5
    assert 0.9 * bound < start[name].abs().max() <= bound * 1.0001
    assert bound > whole[0].numel() ** -0.5


def test_the_dense_control_is_the_dense_network_of_the_run_and_keeps_all(made, origin):
    start = weights(made, "dense-fine-tuned", "strip")
    dense = load_file(origin.run.path("dense", "weights.safetensors"))
    assert all(torch.equal(start[n], dense[n]) for n in start.keys() - HEAD)
    assert all(units.all() for units in kept(made, "dense-fine-tuned").values())


def test_the_random_control_keeps_as_many_units_from_the_same_weights(made, origin):
    found = kept(made, "random")
    assert Structure(found).widths() == origin.structure.widths()
    assert any(not torch.equal(found[n], units) for n, units in origin.structure.keep.items())
    ours, theirs = weights(made, "random", "train"), weights(made, "ticket", "train")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_random_units_follow_the_seed(origin):
    one, again, other = (random_like(origin.structure, seed) for seed in (0, 0, 1))
    assert all(torch.equal(one.keep[n], again.keep[n]) for n in one.keep)
    assert any(not torch.equal(one.keep[n], other.keep[n]) for n in one.keep)


def test_every_row_is_trained_for_as_long_and_certified(made, high):
    for row in ROWS:
        folder = made[0] / "seed-0" / row
        for stage in ("dense", "tune"):
            assert len(read_json(folder / stage / "history.json")) == high.tune.epochs
        assert read_json(folder / "strip" / "certificate.json")["max_rel_diff_fp32"] < 1e-5
        assert read_json(folder / "train" / "transfer.json")["row"] == row


def test_the_dense_network_of_a_seed_is_trained_once(made):
    dense = [weights(made, row, "dense") for row in ROWS]
    assert all(torch.equal(d[n], dense[0][n]) for d in dense for n in d)
    assert made[2].count("dense: done before, unchanged") == len(ROWS) - 1


def test_the_record_says_what_was_measured(made, origin):
    out, record, _ = made
    assert record == read_json(out / "transfer.json")
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == ["dense", *ROWS]
    assert rows["ticket"]["macs"] < rows["dense"]["macs"] == rows["dense-fine-tuned"]["macs"]
    verified = read_json(out / "seed-0" / "ticket" / "verify" / "verify.json")["accuracy"]
    test = rows["ticket"]["accuracy"]["test"]
    assert test == {
        "mean": verified["slim"],
        "standard_error": None,
        "values": [verified["slim"]],
    }
    behind = rows["ticket"]["against_dense"]["mean"]
    assert behind == pytest.approx(verified["slim"] - verified["dense"])
    page = (out / "transfer.md").read_text()
    assert "digits (0 1 2 3 4) -> digits (5 6 7 8 9)" in page
    assert all(f"| {name} |" in page for name in rows)


def test_what_is_done_is_not_done_again(made, origin, high, monkeypatch):
    monkeypatch.setattr(make, "LAST_STAGE", "verify")
    record, said = transfer(origin, high, made[0])
    assert record["rows"] == made[1]["rows"]
    assert said.count("done before, unchanged") == len(ROWS) * len(
        ("inspect", "dense", "train", "strip", "tune", "export", "verify")
    )


def test_the_recipe_of_a_row_has_no_budget_and_the_limits_of_the_run(origin, recipe_of):
    grows = ("grow={round_epochs=1}", "train.epochs=2")
    new = recipe_of("strip.keep_macs=0.1", "dense.epochs=9", *grows)
    recipe = transferred_recipe(origin, new, 7, ROWS["ticket"])
    assert (recipe.strip.budget(), recipe.strip.round_to, recipe.strip.floor_share) == ({}, 1, 0)
    assert (recipe.seed, recipe.grow) == (7, None)
    assert recipe.dense_settings().epochs == recipe.tune.epochs == 2


def test_a_recipe_that_trains_nothing_is_refused(origin, recipe_of, tmp_path):
    with pytest.raises(RecipeError, match="tune.epochs = 0, so a new head would never be trained"):
        transfer(origin, recipe_of("tune.epochs=0"), tmp_path)


def test_another_architecture_is_refused_before_anything_is_made(origin, recipe_of, tmp_path):
    other = recipe_of("model.arguments.widths=[8, 16]")
    with pytest.raises(ModelError, match=r"widths is \[8, 16\] and the run's \[8, 12\]"):
        transfer(origin, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_do_not_fit_are_refused_before_training(
    origin, recipe_of, save_images, tmp_path
):
    new = recipe_of(*save_images(3, 8, 8), "model.arguments.in_channels=1")
    with pytest.raises(ModelError, match=r"cannot take images of shape \(3, 8, 8\)") as refusal:
        transfer(origin, new, tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out" / "seed-0" / "ticket" / "dense").exists()


def test_larger_images_in_colour_are_taken_and_the_stem_is_said(
    origin, recipe_of, save_images, tmp_path, monkeypatch
):
    monkeypatch.setattr(make, "LAST_STAGE", "verify")
    monkeypatch.setattr(make, "ROWS", {"ticket": ROWS["ticket"]})
    monkeypatch.setattr("compressor.transfer.table.ROWS", {"ticket": ROWS["ticket"]})
    new = recipe_of(*save_images(3, 12, 12), *QUICK)
    record, said = transfer(origin, new, tmp_path / "out")
    assert "stem.weight has 1 input channels in the run and 3 here" in said
    assert record["rows"][1]["macs_share"] < 0.6
    assert len(record["notes"]) == 2

"""What is taken of a run: its slim weights at their places in the network at full width."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from compressor.errors import RunError
from compressor.files import read_json
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan
from compressor.transfer.origin import FILES, Origin


@pytest.fixture
def copy(low_run, tmp_path):
    folder = tmp_path / "low"
    shutil.copytree(low_run, folder)
    return folder


def test_cut_again_the_kept_weights_are_the_tuned_ones(origin, make_context):
    model = make_context(origin.recipe).fresh_model()
    model.load_state_dict(dict(origin.kept_weights()))
    plan = StripPlan.from_json(read_json(origin.run.path("tune", "plan.json")))
    tuned = load_file(origin.run.path("tune", "weights.safetensors"))
    slim = apply(plan, model).state_dict()
    assert slim.keys() == tuned.keys()
    assert all(torch.equal(slim[name], tuned[name]) for name in tuned)


def test_outside_the_structure_the_searched_weights_stay(origin):
    searched = load_file(origin.run.path("train", "weights.safetensors"))
    plan = StripPlan.from_json(read_json(origin.run.path("tune", "plan.json")))
    kept = origin.kept_weights()
    cut = next(cut for cut in plan.cuts if cut.tensor == "stem.weight")
    outside = [place for place in range(cut.size) if place not in cut.keep]
    assert outside
    assert torch.equal(kept["stem.weight"][outside], searched["stem.weight"][outside])
    inside = list(cut.keep)
    assert not torch.equal(kept["stem.weight"][inside], searched["stem.weight"][inside])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        Origin.open(tmp_path)


@pytest.mark.parametrize(("stage", "name"), FILES)
def test_a_run_that_lacks_a_part_is_refused_with_the_stage(copy, stage, name):
    (copy / stage / name).unlink()
    with pytest.raises(RunError, match=rf"{stage}/{name}: there is no such file.*{stage}"):
        Origin.open(copy)


def test_a_run_that_was_changed_on_disk_is_refused(copy):
    (copy / "tune" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(RunError, match=r"weights.safetensors is not as tune wrote it"):
        Origin.open(copy)


def test_the_fingerprint_follows_what_is_read(origin, copy):
    other = Origin.open(copy)
    assert other.fingerprint == origin.fingerprint
    (copy / "tune" / "weights.safetensors").write_bytes(b"other")
    assert other.fingerprint != origin.fingerprint

"""Given weights are measured before anything is trained, and trained if their head is new."""

import io

import pytest
import torch
from safetensors.torch import load_file, save_file

from compressor.console import Console
from compressor.files import read_json
from compressor.pipeline import Where, run_recipe
from compressor.recipe import find_recipe, load_recipe, shipped
from compressor.tasks.model import ModelSettings, build_model

QUICK = ("dense.epochs=1", "model.arguments={widths=[4, 6]}")
FACTORY = "models/residual.py:residual_net"


def network(num_classes, seed=1):
    torch.manual_seed(seed)
    settings = ModelSettings(factory=FACTORY, arguments={"widths": [4, 6]})
    return build_model(settings, num_classes, 1, (shipped("models").parent,))


@pytest.fixture
def run_dense(tmp_path):
    """Run ``digits`` up to the dense stage from these weights; folder and what was said."""

    def run(state):
        save_file(state, tmp_path / "w.safetensors")
        more = (*QUICK, f"model.weights={tmp_path / 'w.safetensors'}")
        stream, out = io.StringIO(), tmp_path / "run"
        recipe = load_recipe(find_recipe("digits"), more)
        run_recipe(recipe, Where(out, Console(stream=stream), device="cpu", until="dense"))
        return out / "dense", stream.getvalue()

    return run


def test_weights_that_fit_are_measured_and_are_the_dense_network(run_dense):
    state = network(10).state_dict()
    folder, said = run_dense(state)
    given = read_json(folder / "given.json")
    assert given["weights"] == "w.safetensors"
    assert 0 <= given["accuracy"] < 1
    assert given["why_unmeasured"] is None
    assert f"gets {given['accuracy']:.2%} of {given['test_images']} test images right" in said
    assert read_json(folder / "history.json") == []
    kept = load_file(folder / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in state.items())


def test_a_network_that_only_guesses_is_warned_of(run_dense):
    state = network(10).state_dict()
    head = [name for name, value in state.items() if value.shape[:1] == (10,)]
    state |= {name: torch.zeros_like(state[name]) for name in head}
    said = run_dense(state)[1]
    assert "no more than naming the commonest class always" in said
    assert "data.mean" in said


def test_a_new_head_is_trained_and_the_baseline_says_why_there_is_none(run_dense):
    folder, said = run_dense(network(4).state_dict())
    given = read_json(folder / "given.json")
    assert given["accuracy"] is None
    assert "its classes are not the data's 10: its head (" in given["why_unmeasured"]
    assert "the given network is not measured" in said
    assert said.count("tells 4 classes apart and the data has 10") == 1
    assert len(read_json(folder / "history.json")) == 1


def test_without_weights_nothing_is_given(tmp_path):
    recipe = load_recipe(find_recipe("digits"), QUICK)
    run_recipe(recipe, Where(tmp_path, Console(quiet=True), device="cpu", until="dense"))
    assert not (tmp_path / "dense" / "given.json").exists()

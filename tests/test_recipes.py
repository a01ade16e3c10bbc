import io
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from compressor.console import Console
from compressor.context import Shared
from compressor.dry_run.dry import CHECKS, dry_run
from compressor.files import read_json
from compressor.package.verify import verify_package
from compressor.pipeline import Where, run_recipe
from compressor.recipe import load_recipe, recipe_origin, shipped_recipes
from compressor.sparsity.catalog import METHODS
from compressor.strip.certificate import FP32_BOUND, FP64_BOUND
from compressor.train.loop import _Loop
from compressor.train.mask_file import load_masks

RECIPES = shipped_recipes()

FOUR_STEPS = (
    *("train.epochs=1", "tune.epochs=1", "train.batch_size=320", "dense.batch_size=320"),
    "model.arguments.widths=[4, 4]",
)
"""The digits have 1,295 training images, and a batch that is not whole is left out."""

SMALL = (
    *("bench.rounds=2", "bench.warmup_rounds=1", "bench.warmup_seconds=0.0"),
    *("train.epochs=2", "tune.epochs=2", "model.arguments.widths=[8, 16]"),
)


def test_there_are_recipes_and_digits_is_one():
    assert "digits" in RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_loads_and_is_named_like_its_file(name):
    assert load_recipe(RECIPES[name]).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_says_in_its_first_line_what_it_is(name):
    assert RECIPES[name].read_text(encoding="utf-8").startswith("# ")


FROM_WEIGHTS = [name for name, path in RECIPES.items() if load_recipe(path).model.weights]


def test_some_recipe_starts_from_trained_weights():
    assert FROM_WEIGHTS


@pytest.mark.parametrize("name", FROM_WEIGHTS)
def test_no_stage_of_a_recipe_for_trained_weights_has_a_rate_that_would_wipe_them_out(name):
    recipe = load_recipe(RECIPES[name])
    # Where the classes are others than the weights', the dense network is trained too.
    assert recipe.dense_settings().lr <= recipe.train.lr <= 0.01
    assert recipe.tune.lr <= recipe.train.lr / 2
    assert None not in (recipe.data.mean, recipe.data.std)


METHOD_RECIPES = {
    "dessilbi": {"digits", "digits-split-lbi", "digits-dessilbi-weight"},
    "gates": {"digits-gates"},
    "magnitude": {"digits-magnitude", "digits-magnitude-weight", "digits-magnitude-2-4"},
    "network-slimming": {"digits-network-slimming"},
    "itop": {"digits-itop-weight"},
    "optg": {"digits-optg-weight"},
    "random": {"digits-random"},
    "dense": {"digits-dense"},
}

JOBS = {"scratch", "pretrained", "transfer", "digits-grow", "cpu-2x", "int8", "tensorrt-fp16"}
"""Typical jobs, beside ImageNet on eight GPUs."""


def test_there_is_a_recipe_for_each_method_and_each_job():
    assert set(METHOD_RECIPES) == set(METHODS)
    assert JOBS | {"imagenet-8-gpus"} <= set(RECIPES)
    for method, names in METHOD_RECIPES.items():
        found = {load_recipe(RECIPES[name]).sparsity.method for name in names}
        assert found == {method}


NOT_THERE = {
    "cifar10-resnet20": "data.source: cifar10 is not in {data}/cifar10: run `compressor data get",
    "cpu-2x": "data.source: fashion-mnist is not in {data}/fashion-mnist: run `compressor data get",
    "fashion-mnist": "data.source: fashion-mnist is not in {data}/fashion-mnist: run `compressor",
    "imagenet-8-gpus": "data.path: imagenet is not a folder: set `path` to a folder of class",
    "pretrained": "data.path: pictures is not a folder: set `path` to a folder of class folders.",
    "scratch": "data.source: fashion-mnist is not in {data}/fashion-mnist: run `compressor data",
    "transfer": "data.source: mnist is not in {data}/mnist: run `compressor data get mnist`.",
}
"""What a machine without data lacks for some recipes, as a dry run says it."""


@pytest.fixture(scope="module")
def shared():
    """The recipes for digits have one network, whose couplings are found once."""
    return Shared()


@pytest.fixture(scope="module")
def exported():
    """Networks whose export was found in order: as it takes longest, each is exported once."""
    return []


@pytest.fixture
def dry(tmp_path, monkeypatch, shared, exported):
    """A dry run where no data and no GPU is, and TensorRT is not installed."""
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    # An import of what stands here as None is refused as if there were no such package.
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    def run(name, *overrides):
        path = RECIPES[name]
        where = Where(
            tmp_path / "run",
            Console(quiet=True),
            device="cpu",
            model_folders=(path.parent, Path()),
            shared=shared,
        )
        recipe = load_recipe(path, overrides)
        left_out = {"export"} if recipe.model in exported else set()
        checks = {name: check for name, check in CHECKS.items() if name not in left_out}
        monkeypatch.setattr("compressor.dry_run.dry.CHECKS", checks)
        found = dry_run(recipe, where, recipe_origin(path, overrides).told)
        if any(f.check == "export" and f.state == "holds" for f in found.all):
            exported.append(recipe.model)
        return found

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_runs_dry_or_says_what_is_not_there(name, dry, tmp_path):
    found = dry(name)
    if name in NOT_THERE:
        (fault,) = found.faults
        assert fault.startswith(f"{RECIPES[name]}, line ")
        assert NOT_THERE[name].format(data=tmp_path / "data") in fault
    elif name == "tensorrt-fp16":
        (fault,) = found.faults
        assert fault.startswith("tensorrt is not installed. Install it: ")
    else:
        assert found.faults == []
        assert {finding.state for finding in found.all} == {"holds"}
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_a_trained_network_asks_for_its_weights(dry, tmp_path):
    rng = np.random.default_rng(0)
    for number, place in enumerate(f"{name}/{n}.png" for name in "ab" for n in range(5)):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 8 + number, 3), dtype=np.uint8)).save(path)
    fits = [f"{stage}.batch_size=2" for stage in ("train", "tune", "dense")]
    (fault,) = dry("pretrained", *fits).faults
    assert "model.weights: trained.pth: there are no weights." in fault
    assert f"{RECIPES['pretrained']}, line " in fault


def test_digits_runs_whole_and_is_good_at_it(digits_run):
    summary = read_json(digits_run.folder / "summary.json")
    assert summary["dense"]["accuracy"] > 0.95
    assert summary["slim"]["accuracy"] > summary["dense"]["accuracy"] - 0.03
    assert summary["slim"]["macs"] <= 0.3 * summary["dense"]["macs"]


def run_in(folder, recipe, **where):
    """Run ``recipe`` in ``folder``; what was said."""
    stream = io.StringIO()
    run_recipe(recipe, Where(out=folder, console=Console(stream=stream), device="cpu", **where))
    return stream.getvalue()


SEARCHES = [name for name in RECIPES if name.startswith("digits-") and "-grow" not in name]
"""Those that grow take more epochs than one, and have tests of their own."""


@pytest.mark.parametrize("name", SEARCHES)
def test_every_recipe_for_digits_searches(name, tmp_path):
    run_in(tmp_path / "run", load_recipe(RECIPES[name], FOUR_STEPS), until="train")
    history = read_json(tmp_path / "run" / "train" / "history.json")
    assert history[-1]["step"] == 4
    assert read_json(tmp_path / "run" / "train" / "path.json")["couplings"]


class OfWeights:
    """A finished run of a recipe whose method works on single weights."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.recipe = load_recipe(RECIPES[name], SMALL)
        self.said = run_in(folder, self.recipe)
        self.summary = read_json(folder / "summary.json")
        self.searched, self.kept = (
            load_masks(folder / stage / "masks.safetensors") for stage in ("train", "strip")
        )

    def weights(self, stage):
        return load_file(self.folder / stage / "weights.safetensors")


@pytest.fixture(scope="module", params=["digits-magnitude-weight", "digits-magnitude-2-4"])
def of_weights(request, tmp_path_factory):
    return OfWeights(request.param, tmp_path_factory.mktemp("weights") / request.param)


def test_a_run_of_single_weights_keeps_the_density_that_was_asked_for(of_weights):
    asked = getattr(of_weights.recipe.sparsity, "density", None) or 0.5
    searched = of_weights.weights("train")
    masked = [kept for kept in of_weights.searched.keep.values() if not kept.all()]
    num_kept, num_weights = sum(int(k.sum()) for k in masked), sum(k.numel() for k in masked)
    assert num_kept / num_weights == pytest.approx(asked, abs=0.005)
    for name, kept in of_weights.searched.keep.items():
        assert not searched[name][~kept].any()
    told = f"structure keeps {1 - of_weights.searched.sparsity:.1%} of the weights"
    assert told in of_weights.said


def test_what_is_stripped_of_it_equals_what_is_masked(of_weights):
    summary = of_weights.summary
    assert summary["certificate"]["max_rel_diff_fp32"] <= FP32_BOUND
    assert summary["certificate"]["max_rel_diff_fp64"] <= FP64_BOUND
    assert summary["masked"] == summary["stripped_before_tuning"]
    assert summary["slim"]["macs"] <= 0.6 * summary["dense"]["macs"]


def test_its_masks_fit_the_slim_network_and_zeros_stay_zero_in_tuning(of_weights):
    stripped, tuned = of_weights.weights("strip"), of_weights.weights("tune")
    assert of_weights.kept.keep.keys() == of_weights.searched.keep.keys()
    for name, kept in of_weights.kept.keep.items():
        assert kept.shape == tuned[name].shape
        assert not tuned[name][~kept].any()
        assert not torch.equal(tuned[name], stripped[name])


def test_two_of_every_four_stay_two_of_every_four(of_weights):
    assert of_weights.kept.granularity == of_weights.recipe.sparsity.level
    masked = [kept for kept in of_weights.kept.keep.values() if kept.shape[1] % 4 == 0]
    in_pairs = all((kept.unflatten(1, (-1, 4)).sum(2) == 2).all() for kept in masked)
    assert in_pairs == (of_weights.kept.granularity == "2:4")


def test_its_exported_file_holds_the_same_zeros(of_weights):
    graph = onnx.load(of_weights.folder / "export" / "model.onnx").graph
    arrays = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    found = [name for name in of_weights.kept.keep if name in arrays]
    assert found
    for name in found:
        assert not np.any(arrays[name][~of_weights.kept.keep[name].numpy()])


def test_its_figures_are_those_that_one_counts_in_the_weights(of_weights):
    weights, summary = of_weights.summary["weights"], of_weights.summary
    parameters = [
        value
        for name, value in of_weights.weights("tune").items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    ]
    nonzero = sum(int(value.count_nonzero()) for value in parameters)
    assert summary["slim"]["nonzero_params"] == nonzero < 0.6 * summary["slim"]["params"]
    assert weights == {
        "granularity": of_weights.kept.granularity,
        "share_of_slim": nonzero / summary["slim"]["params"],
        "share_of_dense": nonzero / summary["dense"]["params"],
    }
    assert "Engines do not gain from single zeros by themselves" in of_weights.said


def test_its_package_verifies(of_weights):
    assert verify_package(of_weights.folder / "package").holds


class Killed(BaseException):
    """Stands for whatever kills a run."""


def test_a_killed_tuning_goes_on_with_the_same_zeros(of_weights, tmp_path, monkeypatch):
    recipe = load_recipe(RECIPES[of_weights.name], [*SMALL, "tune.lr=0.03"])
    for name in ("straight", "killed"):
        shutil.copytree(of_weights.folder, tmp_path / name)
    run_in(tmp_path / "straight", recipe, until="tune")

    def kill(self, checkpointed=_Loop._save):
        checkpointed(self)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "_save", kill)
        with pytest.raises(Killed):
            run_in(tmp_path / "killed", recipe, until="tune")
    run_in(tmp_path / "killed", recipe, until="tune", resume=True)
    straight, resumed = (
        load_file(tmp_path / name / "tune" / "weights.safetensors")
        for name in ("straight", "killed")
    )
    assert all(torch.equal(resumed[name], value) for name, value in straight.items())
    for name, kept in of_weights.kept.keep.items():
        assert not resumed[name][~kept].any()

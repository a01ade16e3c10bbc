"""Distillation as the stage ``tune`` sets it up."""

import io
from pathlib import Path

import pytest

from compressor.console import Console
from compressor.context import Context
from compressor.errors import TrainError
from compressor.files import read_json
from compressor.recipe import find_recipe, load_recipe, shipped
from compressor.run import Run
from compressor.stages import training

FEATURES = "tune.features=['blocks.*']"
IMAGES, LEFT_OVER = 1280, 15  # twenty batches of 64, and what is left of the training images


@pytest.fixture
def tune(digits_copy, tmp_path):
    """Tune anew with some overrides, an epoch by default: what was written, and what was said."""

    def run(*overrides):
        said = io.StringIO()
        context = Context(
            recipe=load_recipe(find_recipe("digits"), ("tune.epochs=1", *overrides)),
            run=Run(digits_copy.folder),
            console=Console(stream=said),
            device="cpu",
            data_root=Path(),
            model_folders=(shipped("models").parent,),
            resume=False,
            is_main=True,
        )
        training.tune(context, tmp_path)
        return read_json(tmp_path / "compute.json"), said.getvalue()

    return run


def test_outputs_alone_are_asked_once_for_every_image(tune):
    compute, said = tune()
    assert compute == {"images": IMAGES, "teacher_images": IMAGES + LEFT_OVER}
    assert "features" not in said


@pytest.mark.parametrize("weight", ["0.5", "0.0"])
def test_with_features_the_teacher_sees_each_batch_and_the_stages_are_said(tune, weight):
    compute, said = tune(FEATURES, f"tune.teacher_weight={weight}")
    assert compute == {"images": IMAGES, "teacher_images": IMAGES}
    assert "tune.features 'blocks.*': blocks.0, blocks.1" in said.splitlines()


def test_without_weight_and_features_no_teacher_is_asked(tune):
    assert tune("tune.teacher_weight=0.0")[0] == {"images": IMAGES, "teacher_images": 0}


def test_without_epochs_features_ask_no_teacher(tune):
    compute, said = tune(FEATURES, "tune.epochs=0")
    assert compute == {"images": 0, "teacher_images": 0}
    assert "features" not in said


def test_a_pattern_that_names_nothing_ends_tuning_in_one_line(tune):
    with pytest.raises(
        TrainError, match=r"^tune.features 'layer\*' names no module of both[^\n]*$"
    ):
        tune("tune.features=['layer*']")


def test_the_slim_network_differs_when_it_looks_where_the_dense_one_does(tune, tmp_path):
    written = []
    for overrides in ((), (FEATURES, "tune.feature_weight=5.0")):
        tune(*overrides)
        written.append((tmp_path / "weights.safetensors").read_bytes())
    assert written[0] != written[1]

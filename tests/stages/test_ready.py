import sys

import pytest

from compressor.errors import BudgetError, MissingExtra
from compressor.recipe import find_recipe, load_recipe
from compressor.stages.ready import check_here


def recipe(*overrides):
    return load_recipe(find_recipe("digits"), overrides)


def test_a_target_that_cannot_be_timed_is_refused_before_training():
    changes = ("strip.keep_macs=1.0", "target.engine=tensorrt")
    check_here(recipe(*changes))
    timed = recipe().model_copy(
        update={
            "strip": recipe().strip.model_copy(update={"keep_macs": None, "keep_latency": 0.5}),
            "target": recipe(*changes).target,
        }
    )
    with pytest.raises(BudgetError, match="target.engine = tensorrt"):
        check_here(timed)


def test_what_measures_a_file_must_be_installed_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    check_here(recipe('precision.profiles=["fp16"]'))
    with pytest.raises(MissingExtra, match="openvino"):
        check_here(recipe('precision.profiles=["bf16"]'))


def test_what_times_the_networks_must_be_installed_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    check_here(recipe('bench.engines=["torch"]', "target.engine=openvino"))
    with pytest.raises(MissingExtra, match="python -m pip install openvino"):
        check_here(recipe('bench.engines=["onnxruntime", "openvino"]'))

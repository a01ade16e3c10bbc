import sys
from dataclasses import replace

import pytest

from compressor import pipeline
from compressor.console import Console
from compressor.errors import BudgetError, MissingExtra
from compressor.pipeline import Given, Where, run_recipe
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


def test_a_ceiling_in_time_on_a_target_that_cannot_be_timed_is_refused_before_training():
    growing = ("train.epochs=4", "grow={ ceiling_latency = 0.5 }")
    check_here(recipe(*growing))
    elsewhere = recipe(*growing, "target.engine=tensorrt")
    check_here(elsewhere, {"dense", "strip"})
    for stage in ("inspect", "train"):
        with pytest.raises(BudgetError, match="target.engine = tensorrt"):
            check_here(elsewhere, {stage})
    check_here(recipe("grow={}", "target.engine=tensorrt"), {"train"})


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


def test_only_what_the_stages_to_be_done_need_is_looked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    asked = recipe('bench.engines=["openvino"]', "target.engine=tensorrt")
    in_time = asked.strip.model_copy(update={"keep_macs": None, "keep_latency": 0.5})
    asked = asked.model_copy(update={"strip": in_time})
    check_here(asked, {"inspect", "dense", "train", "tune", "export", "report"})
    with pytest.raises(BudgetError):
        check_here(asked, {"train", "strip"})
    with pytest.raises(MissingExtra):
        check_here(asked, {"bench"})


@pytest.fixture
def looked(monkeypatch):
    """Stages that write one small file each; the names that ``check_here`` was asked for."""
    asked = []

    def pretend(stage):
        return replace(stage, work=lambda _c, into: (into / "m").write_text("m"), on_top=())

    monkeypatch.setattr(pipeline, "STAGES", tuple(map(pretend, pipeline.STAGES)))
    monkeypatch.setattr(pipeline, "check_here", lambda _recipe, stages: asked.append(stages))
    return asked


def test_a_run_looks_for_what_its_own_stages_need_also_where_some_are_done(looked, tmp_path):
    def run(*overrides, **where):
        place = Where(out=tmp_path, console=Console(quiet=True), device="cpu", **where)
        run_recipe(recipe(*overrides), place)
        return looked[-1]

    assert run(until="train") == {"inspect", "dense", "train"}
    assert run(until="tune") == {"strip", "tune"}
    assert run() == {"export", "verify", "build", "bench", "package", "report"}
    assert run() == set()
    # What was added after strip is looked at too, with all that is made of it.
    added = run('tensorrt.engine="tensorrt-rtx"', 'tensorrt.profiles=["fp32"]', until="report")
    assert {"build", "bench", "report"} <= added
    assert "train" not in added


def test_what_is_given_needs_nothing_of_the_stage_that_it_stands_for(looked, tmp_path):
    given = {"train": Given(lambda _c, into: (into / "m").write_text("g"), made_of=1)}
    place = Where(
        out=tmp_path, console=Console(quiet=True), device="cpu", until="train", given=given
    )
    run_recipe(recipe(), place)
    assert looked == [{"inspect", "dense"}]

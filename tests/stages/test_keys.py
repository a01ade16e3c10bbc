"""What stages depend on in a recipe."""

import io
from dataclasses import replace

import pytest

from compressor import pipeline
from compressor.console import Console
from compressor.pipeline import STAGES, Where, finished_stages, run_recipe
from compressor.recipe import find_recipe, load_recipe
from compressor.run import Run
from compressor.stages.keys import settings_of

ACCURACY = 'stop={ rule = "accuracy" }'
GROW = "grow={ round_epochs = 1 }"
IN_TIME = "grow={ round_epochs = 1, ceiling_latency = 0.9 }"
EARLY = ("inspect", "dense", "train")


def settings(*overrides):
    recipe = load_recipe(find_recipe("digits"), overrides)
    return {
        stage.name: settings_of(stage.name, stage.sections, recipe)
        for stage in STAGES
        if stage.name in EARLY
    }


@pytest.mark.parametrize(
    ("before", "change", "stale"),
    [
        ((), "strip.heads=dimensions", ["inspect", "train"]),
        ((), "strip.keep=['head']", ["inspect", "train"]),
        ((), "strip.depth=remove", ["inspect"]),
        ((ACCURACY,), "strip.depth=remove", ["inspect", "train"]),
        ((), "tune.features=['layers.*']", ["inspect"]),
        ((), "tune.epochs=2", ["dense"]),
        ((), "strip.floor_share=0.2", []),
        ((GROW,), "strip.floor_share=0.2", ["inspect", "train"]),
        ((), "strip.round_to=8", []),
        ((GROW,), "strip.round_to=8", ["inspect", "train"]),
        ((), "target.engine=openvino", []),
        ((GROW,), "target.engine=openvino", ["inspect", "train"]),
        ((), "export.opset=19", []),
        ((GROW,), "export.opset=19", []),
        ((IN_TIME,), "export.opset=19", ["inspect", "train"]),
        ((GROW,), "strip.keep_macs=0.5", []),
    ],
)
def test_a_stage_depends_on_what_it_reads_and_on_nothing_else(before, change, stale):
    was, now = settings(*before), settings(*before, change)
    changed = [name for name in EARLY if was[name] != now[name]]
    # Of inspect, which reads the section of the export anyway, only what is beside it counts.
    assert [name for name in changed if (name, change) != ("inspect", "export.opset=19")] == [
        name for name in stale if (name, change) != ("inspect", "export.opset=19")
    ]


def test_settings_that_are_as_they_were_leave_no_trace_in_keys_of_before():
    assert settings()["train"].keys() == {
        *("seed", "model", "data", "task", "sparsity", "train", "strip.held")
    }
    assert settings()["inspect"].keys() == {
        *("seed", "model", "data", "export", "strip.held", "strip.depth")
    }


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A run of stages that write one small file each, and the network's file."""
    net = tmp_path / "net.py"
    net.write_text("before")

    def pretend(stage):
        return replace(stage, work=lambda _c, into: (into / "m").write_text("m"), on_top=())

    monkeypatch.setattr(pipeline, "STAGES", tuple(map(pretend, STAGES)))

    def run(*overrides, until=None):
        recipe = load_recipe(find_recipe("digits"), [f"model.factory={net}:net", *overrides])
        where = Where(tmp_path / "run", Console(stream=io.StringIO()), "cpu", until=until)
        run_recipe(recipe, where)
        return recipe, net, Run(tmp_path / "run")

    return run


def test_stages_that_would_not_be_done_again_are_finished(made):
    recipe, _net, run = made(until="strip")
    assert finished_stages(recipe, run) == ["inspect", "dense", "train", "strip"]


def test_nothing_made_of_a_stale_stage_is_finished(made):
    recipe, _net, run = made()
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"lr": 0.3})})
    assert finished_stages(other, run) == ["inspect", "dense"]
    budget = recipe.strip.model_copy(update={"keep_macs": 0.7})
    smaller = recipe.model_copy(update={"strip": budget})
    assert finished_stages(smaller, run) == ["inspect", "dense", "train"]


def test_nothing_is_finished_once_the_file_of_the_network_was_edited(made):
    recipe, net, run = made()
    assert len(finished_stages(recipe, run)) == len(STAGES)
    net.write_text("after")
    assert finished_stages(recipe, run) == []

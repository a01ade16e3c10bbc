"""Layers of a plan timed one by one, over fakes."""

import json

import pytest
import torch

from compressor.errors import CheckError, ModelError
from compressor.tensorrt.load import OpenPlan
from compressor.tensorrt.profiled import ProfiledSession, make_profiler


@pytest.fixture
def session(kit, engine):
    made = ProfiledSession(kit, OpenPlan(engine, None, None), "net.plan")
    made.reshape((2, 3))
    made.fill(torch.zeros(2, 3))
    return made


def test_times_are_asked_for_after_the_run_is_done(session, engine, cuda):
    del cuda.log[:]
    report = engine.context.report_to_profiler
    engine.context.report_to_profiler = lambda: (cuda.log.append("report"), report())[1]

    session.run_layers()

    assert engine.context.enqueue_emits_profile is False
    assert cuda.log == ["execute", "synchronise", "report"]


def test_each_run_has_its_own_times_in_the_order_of_the_layers(session, engine):
    engine.context.times = [("b", 0.5), ("a", 0.25)]
    first = session.run_layers()
    engine.context.times = [("b", 0.125)]

    assert list(first.items()) == [("b", 0.5), ("a", 0.25)]
    assert session.run_layers() == {"b": 0.125}


def test_a_layer_that_runs_twice_counts_twice(session, engine):
    engine.context.times = [("a", 0.5), ("a", 0.25)]

    assert session.run_layers() == {"a": 0.75}


@pytest.mark.parametrize("times", [[], None])
def test_an_engine_that_tells_no_times_is_refused(session, engine, times):
    engine.context.times = times
    if times is None:
        engine.context.report_to_profiler = lambda: False

    with pytest.raises(ModelError, match=r"net\.plan: the engine ran it and told no times"):
        session.run_layers()


def test_a_run_that_the_engine_refuses_is_one_line(session, engine):
    engine.runs[:] = [False]

    with pytest.raises(ModelError, match=r"net\.plan: the engine does not take the run"):
        session.run_layers()


def test_layers_are_inspected_with_the_shape_that_was_set(session, engine, kit):
    engine.layers = json.dumps({"Layers": [{"Name": "conv"}]})
    inspectors, create = [], engine.create_engine_inspector
    engine.create_engine_inspector = lambda: inspectors.append(create()) or inspectors[-1]

    assert [layer.name for layer in session.layers()] == ["conv"]
    assert inspectors[0].execution_context is engine.context


def test_a_plan_without_details_cannot_be_aligned(session, engine):
    engine.layers = json.dumps({"Layers": ["conv"]})

    with pytest.raises(CheckError, match="built without details"):
        session.layers()


def test_the_profiler_outlives_the_context(session, engine):
    profiler = engine.context.profiler
    held = [session._profiler is profiler]
    end = session.stream.synchronize
    session.stream.synchronize = lambda: (held.append(hasattr(session, "_profiler")), end())

    session.close()

    assert held == [True, True]
    assert not hasattr(session, "_profiler")


@pytest.mark.engines
def test_a_profiler_of_ours_is_one_of_the_real_modules(rtx):
    told = []
    profiler = make_profiler(rtx.trt, lambda layer, ms: told.append((layer, ms)))

    profiler.report_layer_time("conv", 0.5)

    assert isinstance(profiler, rtx.trt.IProfiler)
    assert told == [("conv", 0.5)]

"""One list of engines: all that is made from it agrees with it, and its facts are true here."""

import subprocess
import sys
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressor.bench.engines import OPENERS, RUNNERS
from compressor.bench.openvino_runner import computes_bf16
from compressor.bench.subjects import FILE_ENGINES, IMAGE_SHAPES, OWN_FACTS
from compressor.engines import (
    ENGINES,
    FILE_ENGINE_NAMES,
    GPU_ENGINES,
    CpuEngine,
    EngineName,
    GpuEngine,
)
from compressor.export.precision_runner import MEASURES
from compressor.export.profiles import PROFILES, MeasuredBy, profile_for
from compressor.listing import LISTS
from compressor.stages.in_precision import WAYS
from compressor.strip.target import TargetSettings


def on(device):
    return {engine.name for engine in ENGINES.values() if engine.device == device}


def test_the_names_that_settings_take_are_those_of_the_list():
    assert get_args(EngineName) == tuple(ENGINES)
    assert set(get_args(CpuEngine)) == on("cpu")
    assert set(get_args(GpuEngine)) == set(GPU_ENGINES) == on("cuda")
    assert TargetSettings.model_fields["engine"].annotation == EngineName


def test_every_engine_of_the_list_has_its_runners():
    assert set(RUNNERS) == on("cpu")
    assert set(OPENERS) == set(FILE_ENGINES) == set(FILE_ENGINE_NAMES)
    assert set(IMAGE_SHAPES) == {ENGINES[name].runs for name in FILE_ENGINE_NAMES}
    assert set(OWN_FACTS) <= set(FILE_ENGINES)


def test_files_are_measured_by_engines_of_the_list_or_as_written():
    assert set(get_args(MeasuredBy)) == set(MEASURES)
    assert set(MEASURES) - {"onnxruntime-as-written"} <= set(FILE_ENGINE_NAMES)


def test_profiles_are_for_engines_that_run_files():
    assert {name for p in PROFILES.values() for name in p.engines} == set(FILE_ENGINE_NAMES)


@pytest.mark.parametrize("name", FILE_ENGINE_NAMES)
def test_a_precision_of_an_engine_is_one_profile(name):
    for precision in ENGINES[name].precisions:
        profile = profile_for(name, precision)
        assert profile.precision == precision
        assert name in profile.engines


def test_what_an_engine_of_the_cpu_computes_in_can_be_timed():
    assert {p for name in on("cpu") for p in ENGINES[name].precisions} == set(WAYS)


def test_no_engine_is_imported_to_read_the_list():
    script = "import sys, compressor.engines; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "compressor.engines" in loaded
    assert loaded.isdisjoint(engine.module for engine in ENGINES.values())


def test_engines_are_listed_with_what_is_installed():
    rows = {row["name"]: row for row in LISTS["engines"]()}
    assert list(rows) == list(ENGINES)
    assert rows["onnxruntime"]["version"][0].isdigit()
    assert rows["openvino"]["in"] == "fp32, bf16, int8"


@pytest.fixture
def half(tmp_path):
    """One convolution as an fp16 profile has it: half precision between two casts."""
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float16)
    shape = [1, 16, 8, 8]
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "weight"], ["made"], pads=[1] * 4),
        helper.make_node("Cast", ["made"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(
        nodes, "half", ends[:1], ends[1:], [numpy_helper.from_array(weight, "weight")]
    )
    opset = helper.make_opsetid("", 18)
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_onnxruntime_computes_half_precision_in_float32(half, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(str(half), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    assert any(node.op_type == "Conv" for node in graph.node)
    assert {tensor.data_type for tensor in graph.initializer} == {TensorProto.FLOAT}


@pytest.mark.parametrize(("hint", "expected"), [("f32", "f32"), ("bf16", "bf16")])
def test_openvino_computes_in_what_the_hint_says_and_not_in_half_precision(half, hint, expected):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is an extra that is not installed")
    if hint == "bf16" and not computes_bf16():
        pytest.skip("this processor has no bfloat16")
    compiled = openvino.Core().compile_model(str(half), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    (convolution,) = [
        info
        for node in compiled.get_runtime_model().get_ops()
        if (info := node.get_rt_info())["layerType"].astype(str) == "Convolution"
    ]
    assert convolution["runtimePrecision"].astype(str) == expected

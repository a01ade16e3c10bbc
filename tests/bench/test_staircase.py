"""Layers measured at a few widths: real engines, small layers, and no claim about speed."""

import contextlib
import sys

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from compressor.bench import staircase
from compressor.bench.engines import RUNNERS
from compressor.bench.staircase import (
    COPIES,
    MAX_TURNS,
    SHARES,
    TURN,
    check_measurable,
    clock_of,
    measure,
    measure_grids,
    together,
    widths_of,
)
from compressor.bench.staircase_graphs import batch_of, side_of
from compressor.bench.staircase_store import Store, cache_folder, machine
from compressor.errors import BudgetError, MissingExtra, RunError
from compressor.files import read_json
from compressor.strip.layer_shapes import LayerShape
from compressor.strip.target import TargetSettings

PLAIN = LayerShape(32, 16, (6, 6), (3, 3), (2, 2), (1, 1), (1, 1))
DEPTHWISE = LayerShape(24, 1, (6, 5), (3, 3), (1, 1), (1, 1), (1, 1), group_out=1, groups=24)
GROUPED = LayerShape(24, 4, (4, 4), (1, 1), (1, 1), (0, 0), (1, 1), groups=3)
VECTORS = LayerShape(10, 12, (7,))
SHAPES = [PLAIN, DEPTHWISE, GROUPED, VECTORS]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("num_copies", [1, 3])
def test_the_file_and_the_module_compute_the_same(shape, num_copies, tmp_path):
    side, batch = side_of(shape, num_copies, 2, tmp_path), batch_of(shape, 2)
    outputs = []
    for engine in ("onnxruntime", "torch"):
        runner = RUNNERS[engine](side, 1)
        runner.prepare(batch)
        outputs.append(runner.run().flatten())
        runner.close()
    onnx.checker.check_model(side.onnx_path, full_check=True)
    assert outputs[0].std() > 0
    assert torch.allclose(*outputs, atol=1e-5)


def test_copies_are_the_layer_with_different_weights(tmp_path):
    module, images = side_of(PLAIN, COPIES, 2, tmp_path).module, batch_of(PLAIN, 2)
    expected = sum(
        functional.conv2d(images, layer.weight, layer.bias, 2, 1).mean((2, 3))
        for layer in module.layers
    )
    assert torch.allclose(module(images), expected, atol=1e-5)
    assert not torch.equal(module.layers[0].weight, module.layers[1].weight)


@pytest.mark.parametrize(
    ("shape", "block", "varies", "expected"),
    [
        (PLAIN.at(64, 64), 16, (True, True), ((16, 32, 48, 64), (16, 32, 48, 64))),
        (PLAIN.at(512, 3), 16, (True, False), ((64, 192, 320, 512), (3,))),
        (PLAIN.at(24, 16), 16, (True, True), ((16, 24), (16,))),
        (PLAIN, 16, (False, False), ((32,), (16,))),
        (DEPTHWISE, 16, (True, False), ((16, 24), (1,))),
        (GROUPED, 8, (True, True), ((24,), (4,))),
        (VECTORS.at(1000, 512), 1, (False, True), ((1000,), (64, 192, 320, 512))),
    ],
)
def test_widths_are_whole_blocks_and_groups_up_to_the_dense(shape, block, varies, expected):
    assert widths_of(shape, block, varies) == expected


def make(side, batch):
    runner = RUNNERS["onnxruntime"](side, 1)
    runner.prepare(batch)
    return runner


class Steps:
    """A clock that goes on by one second each time it is read."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def test_every_layer_gets_as_many_runs():
    clock = Steps()
    times = measure([GROUPED, VECTORS], TargetSettings(), clock, make)
    assert clock.now == 2 * 2 * 2 * MAX_TURNS * TURN
    # One run takes 1000 ms by this clock, several copies no longer: what is left is the least.
    assert times == [1000 / COPIES / 10] * 2


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache" / "staircase.json", machine(TargetSettings()))


def test_grids_hold_a_time_for_each_width_and_are_measured_once(store):
    told = []
    layers = {PLAIN: (True, True), VECTORS: (False, True)}
    first = measure_grids(layers, 8, TargetSettings(), store, make, told.append)
    grid = first[PLAIN]
    assert grid.ms.shape == (len(grid.outs), len(grid.intos)) == (4, 2)
    assert (grid.ms > 0).all()
    assert (grid.block, first[VECTORS].block) == (8, 1)
    assert told == [PLAIN.name, VECTORS.name]
    known = Store(store._path, store._key)
    again = measure_grids(layers, 8, TargetSettings(), known, lambda *_: pytest.fail("measured"))
    assert all(np.array_equal(again[shape].ms, first[shape].ms) for shape in layers)


def test_what_another_engine_or_machine_took_is_not_read(store):
    store.add({"a": 1.0})
    for other in (
        {"engine": "torch"},
        {"num_threads": 2},
        {"batch_size": 8},
        {"precision": "int8"},
    ):
        assert Store(store._path, machine(TargetSettings(**other))).times == {}
    assert Store(store._path, store._key).times == {"a": 1.0}


def test_what_others_wrote_meanwhile_stays(store):
    other = Store(store._path, machine(TargetSettings(engine="torch")))
    twin = Store(store._path, store._key)
    other.add({"a": 1.0})
    twin.add({"b": 2.0})
    store.add({"c": 3.0})
    assert {k: e["ms"] for k, e in read_json(store._path).items()} == {
        other._name: {"a": 1.0},
        store._name: {"b": 2.0, "c": 3.0},
    }


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"a": 3}'])
def test_a_broken_file_is_named_with_what_to_do(tmp_path, text):
    path = tmp_path / "staircase.json"
    path.write_text(text)
    with pytest.raises(RunError, match=r"staircase.json cannot be read .* delete it"):
        Store(path, {})


def test_the_key_names_the_engine_and_the_processor():
    key = machine(TargetSettings())
    assert key["engine"] == "onnxruntime"
    assert key["version"][0].isdigit()


def test_the_cache_lies_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPRESSOR_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("COMPRESSOR_CACHE")
    assert cache_folder().name == "compressor"


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_an_engine_of_plans_is_refused_with_or_without_a_gpu_and_sent_to_no_other_machine(engine):
    told = f"^target.engine = {engine} cannot be measured layer by layer yet; onnxruntime"
    with pytest.raises(BudgetError, match=told):
        check_measurable(TargetSettings(engine=engine))


@pytest.mark.parametrize(
    ("engine", "precision", "why"),
    [
        ("onnxruntime", "fp16", "ONNX Runtime computes fp16 in float32 on a CPU"),
        ("onnxruntime", "bf16", "has no bf16 or fp8 layers there. Take fp32 or int8"),
        ("openvino", "fp16", "OpenVINO computes fp16 in float32 on a CPU as it is set here"),
        ("torch", "int8", "networks are run in PyTorch as they are, in float32. Take fp32, or"),
    ],
)
def test_a_precision_that_an_engine_does_not_compute_in_is_refused(engine, precision, why):
    with pytest.raises(BudgetError) as error:
        check_measurable(TargetSettings(engine=engine, precision=precision))
    told = str(error.value)
    assert told.startswith(f"target.precision = {precision} cannot be measured with {engine}: ")
    assert why in told


@pytest.mark.parametrize(
    ("engine", "precision"),
    [*(("onnxruntime", p) for p in ("fp32", "int8")), ("openvino", "int8"), ("torch", "fp32")],
)
def test_engines_that_run_here_are_taken(engine, precision):
    pytest.importorskip(engine, reason="an extra that is not installed")
    check_measurable(TargetSettings(engine=engine, precision=precision))


def test_an_engine_that_is_not_installed_is_missed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match="python -m pip install openvino"):
        check_measurable(TargetSettings(engine="openvino"))


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_taken_where_the_processor_has_it(has_it, monkeypatch):
    pytest.importorskip("openvino", reason="an extra that is not installed")
    monkeypatch.setattr(staircase, "computes_bf16", lambda: has_it)
    target = TargetSettings(engine="openvino", precision="bf16")
    refusal = pytest.raises(BudgetError, match="which has no bfloat16")
    with contextlib.nullcontext() if has_it else refusal:
        check_measurable(target)


@pytest.mark.parametrize(("threads", "clock"), [(1, "process"), (2, "wall")])
def test_several_threads_are_timed_by_the_clock_on_the_wall(threads, clock):
    assert clock_of(TargetSettings(num_threads=threads)) == clock


def test_shares_end_with_the_dense_width():
    assert sorted(SHARES)[-1] == 1.0


def test_layers_that_would_fill_the_memory_take_turns_in_smaller_groups():
    small, large = LayerShape(64, 64, (1,)), LayerShape(4096, 25088, (1,))
    assert together([small] * 5) == [[small] * 5]
    assert [len(group) for group in together([large, small, large])] == [1, 1, 1]
    assert together([]) == []

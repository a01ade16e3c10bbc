import dataclasses
import io

import numpy as np
import onnx
import pytest

from compressor.bench import chain
from compressor.bench.chain import REFERENCE, bench_chain, subject_of, why_not_timed
from compressor.bench.engines import RUNNERS
from compressor.bench.stopwatch import RealtimeStopwatch
from compressor.bench.subjects import FILE_ENGINES, Subject
from compressor.bench.timer import BenchSettings
from compressor.console import Console
from compressor.errors import CheckError
from compressor.file_profile import FileProfile, note_profile_

QUICK = BenchSettings(batch_sizes=(1, 2), rounds=3, warmup_rounds=1, warmup_seconds=0)
ONCE = QUICK.model_copy(update={"batch_sizes": (1,)})
QUIET = Console(quiet=True)


@pytest.fixture
def noted(side, tmp_path):
    """Copies of the side's file that say which engines they were made for."""

    def make(name, *engines):
        proto = onnx.load(str(side.onnx_path))
        note_profile_(proto, FileProfile(name, engines))
        path = tmp_path / f"model.{name}.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return make


def test_all_are_timed_beside_the_dense_network_in_pytorch(side, noted):
    record = bench_chain(side, side, [noted("fp16", "onnxruntime", "tensorrt")], QUICK, QUIET)
    assert record["reference"] == REFERENCE
    assert list(record["latency"]) == ["1", "2"]
    for links in record["latency"].values():
        assert list(links) == [
            *(REFERENCE, "dense, onnxruntime", "slim, onnxruntime", "slim fp16, onnxruntime"),
        ]
        assert all(link["samples"] == 3 for link in links.values())
        assert links[REFERENCE]["speedup"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_a_file_for_a_gpu_is_named_and_not_timed(side, noted):
    record = bench_chain(side, side, [noted("int8-tensorrt", "tensorrt")], QUICK, QUIET)
    assert record["unmeasured"] == {
        "model.int8-tensorrt.onnx": "tensorrt runs plans, and none was built of it"
    }
    assert len(record["latency"]["1"]) == 3


def test_why_a_file_is_not_timed_is_told(side, noted):
    stream = io.StringIO()
    files = [noted("int8-tensorrt", "tensorrt")]
    bench_chain(side, side, files, QUICK, Console(stream=stream))
    told = " ".join(stream.getvalue().split())
    assert "model.int8-tensorrt.onnx is not timed: tensorrt runs plans, and none was built" in told


def test_a_subject_runs_on_its_engine_and_under_its_name(side, noted):
    pytest.importorskip("openvino", reason="an extra that is not installed")
    subject = Subject("slim again", "openvino", noted("fp32", "onnxruntime", "openvino"))
    record = bench_chain(side, side, [subject], ONCE, QUIET)
    assert list(record["latency"]["1"])[-1] == "slim again"
    assert record["unmeasured"] == {}


@pytest.fixture
def plan(make_plan):
    return Subject("slim fp16, tensorrt", "tensorrt", make_plan("tensorrt"))


def test_a_plan_is_timed_where_there_is_a_gpu(side, plan, monkeypatch):
    monkeypatch.setattr(chain.torch.cuda, "is_available", lambda: True)
    opened = dataclasses.replace(
        FILE_ENGINES["tensorrt"], open=lambda _path, threads: RUNNERS["torch"](side, threads)
    )
    monkeypatch.setitem(FILE_ENGINES, "tensorrt", opened)
    record = bench_chain(side, side, [plan], ONCE, QUIET)
    assert list(record["latency"]["1"])[-1] == "slim fp16, tensorrt"


@pytest.mark.parametrize(
    ("gpu", "clock", "why"),
    [(False, "wall", "this machine has none"), (True, "process", "counts the CPU's time alone")],
)
def test_a_plan_is_not_timed_without_a_gpu_or_by_the_clock_of_the_cpu(
    plan, monkeypatch, gpu, clock, why
):
    monkeypatch.setattr(chain.torch.cuda, "is_available", lambda: gpu)
    assert why in why_not_timed(plan, ONCE.model_copy(update={"clock": clock}))


@pytest.mark.parametrize(("has_it", "why"), [(True, None), (False, "no bfloat16")])
def test_a_bfloat16_file_is_timed_in_bfloat16_or_not_at_all(noted, monkeypatch, has_it, why):
    monkeypatch.setattr(chain, "computes_bf16", lambda: has_it)
    told = why_not_timed(subject_of(noted("bf16", "openvino", "tensorrt")), ONCE)
    assert told is None if why is None else why in told


def test_progress_is_told_for_each_batch_size(side):
    stream = io.StringIO()
    bench_chain(side, side, [], QUICK, Console(stream=stream))
    first, last = stream.getvalue().splitlines()
    assert "batch 1" in first
    assert "100%" in last
    assert "batch 2" in last


def test_the_record_says_where_realtime_priority_was_refused(side, monkeypatch):
    monkeypatch.setattr(chain, "stopwatch", lambda _name, clock: RealtimeStopwatch(clock, None))
    settings = QUICK.model_copy(update={"clock": "realtime", "batch_sizes": (1,)})
    clock = bench_chain(side, side, [], settings, QUIET)["clock"]
    assert clock["realtime_granted"] is False
    assert clock["realtime_refused_because"] == "this system has no SCHED_FIFO"


def test_a_file_that_gives_no_numbers_is_refused_and_not_timed(side, noted):
    path = noted("fp16", "onnxruntime")
    proto = onnx.load(path)
    proto.graph.initializer[1].CopyFrom(
        onnx.numpy_helper.from_array(np.full(4, np.nan, np.float32), "bias")
    )
    onnx.save(proto, path)
    told = "For 1 of 1 images slim fp16, onnxruntime gives NaN"
    with pytest.raises(CheckError, match=told):
        bench_chain(side, side, [path], ONCE, QUIET)

import io

import onnx
import pytest

from compressor.bench import chain
from compressor.bench.chain import REFERENCE, bench_chain
from compressor.bench.stopwatch import RealtimeStopwatch
from compressor.bench.timer import BenchSettings
from compressor.console import Console
from compressor.file_profile import FileProfile, note_profile_

QUICK = BenchSettings(batch_sizes=(1, 2), rounds=3, warmup_rounds=1, warmup_seconds=0)
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
    assert record["unmeasured"] == ["model.int8-tensorrt.onnx"]
    assert len(record["latency"]["1"]) == 3


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

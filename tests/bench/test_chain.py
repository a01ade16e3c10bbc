import onnx
import pytest

from compressor.bench.chain import REFERENCE, bench_chain
from compressor.bench.timer import BenchSettings
from compressor.file_profile import FileProfile, note_profile_

QUICK = BenchSettings(batch_sizes=(1, 2), rounds=3, warmup_rounds=1, warmup_seconds=0)


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
    record = bench_chain(side, side, [noted("fp16", "onnxruntime", "tensorrt")], QUICK)
    assert record["reference"] == REFERENCE
    assert list(record["latency"]) == ["1", "2"]
    for links in record["latency"].values():
        assert list(links) == [
            *(REFERENCE, "dense, onnxruntime", "slim, onnxruntime", "slim fp16, onnxruntime"),
        ]
        assert all(link["samples"] == 3 for link in links.values())
        assert links[REFERENCE]["speedup"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_a_file_for_a_gpu_is_named_and_not_timed(side, noted):
    record = bench_chain(side, side, [noted("int8-tensorrt", "tensorrt")], QUICK)
    assert record["unmeasured"] == ["model.int8-tensorrt.onnx"]
    assert len(record["latency"]["1"]) == 3

import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from compressor.bench.onnxruntime_runner import (
    OnnxRuntimeRunner,
    check_provider,
    open_session,
    session_options,
)
from compressor.bench.runner import import_engine
from compressor.errors import MissingExtra, ModelError


@pytest.mark.parametrize("batch_size", [1, 3])
def test_output_is_that_of_the_network(net, onnx_path, batch_size):
    batch = torch.randn(batch_size, 3, 8, 8)
    runner = OnnxRuntimeRunner(onnx_path, num_threads=1)
    runner.prepare(batch)

    torch.testing.assert_close(runner.run(), net(batch).detach())


def test_a_strided_batch_that_needs_a_gradient_is_accepted(net, onnx_path):
    batch = torch.randn(2, 8, 8, 3, requires_grad=True).permute(0, 3, 1, 2)
    runner = OnnxRuntimeRunner(onnx_path, num_threads=1)
    runner.prepare(batch)

    torch.testing.assert_close(runner.run(), net(batch).detach())


def test_later_batches_take_the_place_of_earlier_ones(net, onnx_path):
    first, second = torch.randn(2, 1, 3, 8, 8)
    runner = OnnxRuntimeRunner(onnx_path, num_threads=1)
    for batch in (first, second):
        runner.prepare(batch)

    torch.testing.assert_close(runner.run(), net(second).detach())


def test_the_session_runs_on_the_cpu_provider_alone(onnx_path):
    assert open_session(onnx_path, 1).get_providers() == ["CPUExecutionProvider"]


def test_the_session_is_sequential_optimised_and_has_the_asked_threads():
    options = session_options(onnxruntime, num_threads=3)

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize("providers", [[], ["CUDAExecutionProvider", "CPUExecutionProvider"]])
def test_another_provider_in_front_is_refused(providers):
    with pytest.raises(ModelError, match=r"net\.onnx: ONNX Runtime runs it with \["):
        check_provider(Path("net.onnx"), providers)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.onnx: there is no such file"):
        OnnxRuntimeRunner(tmp_path / "absent.onnx", num_threads=1)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x0a"])
def test_a_file_that_is_not_onnx_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"broken\.onnx cannot be opened: ") as refused:
        OnnxRuntimeRunner(path, num_threads=1)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 4, 8, 8), (3, 8, 8)])
def test_images_of_another_shape_are_refused(onnx_path, shape):
    runner = OnnxRuntimeRunner(onnx_path, num_threads=1)

    with pytest.raises(ModelError, match=r"takes inputs of shape \['batch', 3, 8, 8\]"):
        runner.prepare(torch.zeros(shape))


def test_a_missing_onnxruntime_is_named_with_its_install_command(onnx_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtra, match="python -m pip install onnxruntime") as missing:
        OnnxRuntimeRunner(onnx_path, num_threads=1)

    assert "\n" not in str(missing.value)


def test_an_engine_whose_libraries_are_missing_says_which(tmp_path, monkeypatch):
    (tmp_path / "half_engine.py").write_text("raise ImportError('libhalf.so: not found')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(MissingExtra, match=r"half_engine cannot be imported \(libhalf.so: not"):
        import_engine("half_engine", "half-engine")


def test_a_file_that_kept_a_size_of_batch_is_refused_in_one_line(tmp_path):
    text = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[batch, 3, 8, 8] images) => (float[batch, 192] logits) {
        shape = Constant <value_ints = [2, 192]> ()
        logits = Reshape(images, shape)
    }"""
    path = tmp_path / "fixed.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    runner = OnnxRuntimeRunner(path, 1)
    runner.prepare(torch.zeros(3, 3, 8, 8))
    with pytest.raises(ModelError, match=r"fixed\.onnx cannot be run for inputs of \[3, 3, 8, 8\]"):
        runner.run()

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from compressor.bench import blocks
from compressor.bench.blocks import block_of, onnxruntime_block, padded_filters


@pytest.mark.parametrize(("filters", "block"), [(32, 16), (24, 8), (20, None)])
def test_the_block_is_what_pads_twenty_filters_to_those_seen(filters, block):
    assert block_of(filters) == block


def test_the_engine_pads_a_layer_to_the_block_that_was_found(tmp_path):
    """Another layer than the probe: its filters, in the engine's own graph, are whole blocks."""
    block, channels = onnxruntime_block(), 36
    weight = np.ones((channels, channels, 3, 3), np.float32)
    shape = [1, channels, 6, 6]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "other",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    made = onnx.load(tmp_path / "optimized.onnx").graph
    filters = next(t.dims[0] for t in made.initializer if len(t.dims) == 4)
    expected = channels if block is None else -(-channels // block) * block
    assert filters == expected


def test_the_probe_is_made_once_in_a_process(monkeypatch):
    onnxruntime_block.cache_clear()
    calls = []
    monkeypatch.setattr(blocks, "padded_filters", lambda: calls.append(1) or padded_filters())

    assert onnxruntime_block() == onnxruntime_block()
    assert calls == [1]

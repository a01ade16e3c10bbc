import onnx
import pytest
import torch

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.export.precision_figures import figures
from compressor.export.precision_fp16 import layers_of_file, write_fp16

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def types(path):
    return {tensor.name: tensor.data_type for tensor in onnx.load(str(path)).graph.initializer}


@pytest.fixture
def half(exported, tmp_path):
    write_fp16(exported, tmp_path / "half.onnx", frozenset())
    return tmp_path / "half.onnx"


def test_weights_are_float16_and_the_file_is_half_the_size(exported, half):
    floats = [kind for kind in types(half).values() if kind in (HALF, FLOAT)]

    assert set(floats) == {HALF}
    assert half.stat().st_size < 0.75 * exported.stat().st_size


def test_inputs_and_outputs_stay_float32(half):
    graph = onnx.load(str(half)).graph

    ends = [*graph.input, *graph.output]
    assert [value.type.tensor_type.elem_type for value in ends] == [FLOAT, FLOAT]


def test_the_outputs_are_those_of_the_float32_file(exported, half):
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    reference, other = (OnnxRuntimeRunner(path, num_threads=1) for path in (exported, half))

    assert 0 < figures(reference, other, [images]).relative_l2 < 2e-3


def test_a_kept_layer_stays_float32(exported, tmp_path):
    path = tmp_path / "half.onnx"
    write_fp16(exported, path, frozenset({"block"}))

    kinds = types(path)
    assert kinds["block.weight"] == FLOAT
    assert kinds["stem.weight"] == kinds["head.weight"] == HALF


def test_layers_are_named_after_their_modules(exported):
    assert list(layers_of_file(exported)) == ["stem", "block", "head"]


def test_the_same_file_gives_the_same_bytes(exported, half, tmp_path):
    write_fp16(exported, tmp_path / "again.onnx", frozenset())

    assert (tmp_path / "again.onnx").read_bytes() == half.read_bytes()


def test_values_that_float16_cannot_hold_are_clamped_in_silence(exported, tmp_path, recwarn, capfd):
    proto = onnx.load(str(exported))
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "stem.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = 1e6
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(proto, str(tmp_path / "large.onnx"))

    write_fp16(tmp_path / "large.onnx", tmp_path / "half.onnx", frozenset())

    graph = onnx.load(str(tmp_path / "half.onnx")).graph
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    assert max(abs(array).max() for array in arrays if array.size) == 65504.0
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_between_kept_layers_nothing_is_rounded_to_float16(exported, tmp_path):
    path = tmp_path / "half.onnx"
    write_fp16(exported, path, frozenset({"stem", "block", "head"}))
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    reference, other = (OnnxRuntimeRunner(file, num_threads=1) for file in (exported, path))

    assert figures(reference, other, [images]).relative_l2 < 1e-6
    casts = [node for node in onnx.load(str(path)).graph.node if node.op_type == "Cast"]
    assert len(casts) <= 1  # that of the output, which the converter reads back

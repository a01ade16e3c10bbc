import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from compressor.errors import ModelError
from compressor.tensorrt.graph import read_graph

from .graphs import convolution, product, save


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_the_precision_of_a_layer_is_read_from_its_types(tmp_path, kind):
    graph = read_graph(convolution(tmp_path / "net.onnx", kind))
    assert [(layer.name, layer.precision) for layer in graph.layers] == [("conv", kind)]
    assert graph.precisions() == {kind: 1}


def test_a_converted_file_with_float32_inputs_is_fp16(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), str(path))
    graph = read_graph(path)
    assert graph.precisions() == {"fp16": 1}
    assert graph.layers[0].weight.shape == (8, 4, 3, 3)


def test_a_weight_alone_that_is_quantised_does_not_make_a_layer_int8(tmp_path):
    path = convolution(tmp_path / "net.onnx", "int8")
    proto = onnx.load(path)
    conv = next(node for node in proto.graph.node if node.op_type == "Conv")
    conv.input[0] = "images"
    onnx.save(proto, str(path))
    assert read_graph(path).precisions() == {"fp32": 1}


def test_a_product_of_two_tensors_that_are_not_stored_has_no_weight(tmp_path):
    node = helper.make_node("MatMul", ["images", "images"], ["logits"])
    kind = TensorProto.FLOAT
    images = helper.make_tensor_value_info("images", kind, [4, 4])
    logits = helper.make_tensor_value_info("logits", kind, [4, 4])
    path = save(tmp_path / "net.onnx", [node], [images], [logits], [])
    assert [layer.weight for layer in read_graph(path).layers] == [None]


@pytest.mark.parametrize(
    ("name", "transposed", "axis"), [("Gemm", True, 1), ("Gemm", False, 0), ("MatMul", False, -2)]
)
def test_the_contracted_axis_is_that_of_the_input_features(tmp_path, name, transposed, axis):
    layer = read_graph(product(tmp_path / "net.onnx", name, transposed)).layers[0]
    assert layer.contracted == axis
    assert layer.weight.shape[axis] == 8


def test_inputs_keep_the_names_of_their_free_sizes(tmp_path):
    graph = read_graph(convolution(tmp_path / "net.onnx", size="height"))
    assert graph.inputs == {"images": ("batch", 4, "height", "height")}


def test_a_layer_behind_an_operator_that_is_not_onnxs_own_has_an_unknown_precision(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    proto = onnx.load(path)
    conv = next(node for node in proto.graph.node if node.op_type == "Conv")
    conv.input[0] = "strange"
    node = helper.make_node("Strange", ["images"], ["strange"], domain="elsewhere")
    proto.graph.node.insert(0, node)
    proto.opset_import.append(helper.make_opsetid("elsewhere", 1))
    onnx.save(proto, str(path))
    assert read_graph(path).precisions() == {"unknown": 1}


def test_a_file_without_weights_is_refused_with_the_weight(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    proto = onnx.load(path)
    weight = next(each for each in proto.graph.initializer if each.name == "weight")
    proto.graph.initializer.remove(weight)
    value = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [8, 4, 3, 3])
    proto.graph.input.append(value)
    onnx.save(proto, str(path))
    with pytest.raises(ModelError, match="weight, the weight of conv, is an input"):
        read_graph(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"\xff\xfftext", "not an ONNX file"), (b"", "no network")],
)
def test_what_is_no_onnx_file_is_refused(tmp_path, content, said):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_graph(path)


def test_a_node_without_a_name_is_called_by_what_it_makes(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    proto = onnx.load(path)
    for node in proto.graph.node:
        node.name = ""
    onnx.save(proto, str(path))
    assert read_graph(path).layers[0].name == "the Conv that makes convolved"
    assert np.isfinite(read_graph(path).layers[0].weight).all()


def test_a_node_without_a_name_is_called_as_the_engines_parser_does(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    assert read_graph(path).product_nodes() == {"conv"}
    proto = onnx.load(path)
    next(node for node in proto.graph.node if node.op_type == "Conv").name = ""
    onnx.save(proto, str(path))
    assert read_graph(path).product_nodes() == {"node_of_convolved"}

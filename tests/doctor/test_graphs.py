import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressor.doctor.graphs import NETWORK, Exported, owners, replaced
from compressor.doctor.onnxruntime_times import profile_files

IMAGES = np.ones((1, 3, 16, 16), np.float32)


def optimized(model, folder):
    """The engine's own graph of ``model``."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx").graph


def model_of(nodes, stored, output_shape):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def quantized():
    """One int8 convolution with its ReLU, between quantisers."""
    stored = {
        "scale": np.float32(0.05),
        "zero": np.uint8(0),
        "weight_zero": np.int8(0),
        "layer.conv.weight_quantized": np.ones((16, 16, 1, 1), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "scale", "zero"], ["x_d"]),
        helper.make_node(
            "DequantizeLinear", ["layer.conv.weight_quantized", "scale", "weight_zero"], ["w"]
        ),
        helper.make_node("Conv", ["x_d", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["r_q"]),
        helper.make_node("DequantizeLinear", ["r_q", "scale", "zero"], ["y"]),
    ]
    return model_of(nodes, stored, [1, 16, 8, 8])


def test_every_kernel_of_a_network_belongs_to_the_module_that_made_it(networks):
    times = profile_files(networks, IMAGES, 1, 1)["slim"]
    found = owners(times.exported, times.nodes, times.work)

    assert {"stem", "block.conv1", "block.conv2", "classifier"} <= set(found.values())
    assert set(found.values()) <= {
        *("stem", "block", "block.conv1", "block.conv2", "classifier", NETWORK)
    }


def test_a_change_of_layout_belongs_to_the_module_whose_result_it_changes(networks):
    times = profile_files(networks, IMAGES, 1, 1)["slim"]
    reorders = [n for n in times.nodes if n.op_type == "ReorderOutput"]
    makers = {name: node for node in times.nodes for name in node.output}
    found = owners(times.exported, times.nodes, times.work)

    for node in reorders:
        assert found[node.name] == found[makers[node.input[0]].name]
        assert times.work[node.name] == []


def test_an_activation_that_was_fused_is_part_of_its_convolution(tmp_path):
    stored = {"layer.weight": np.ones((16, 16, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "layer.weight"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    model = model_of(nodes, stored, [1, 16, 8, 8])
    graph = optimized(model, tmp_path)
    exported = Exported(model.graph)

    assert "Relu" not in {node.op_type for node in graph.node}
    fused = next(names for names in replaced(exported, graph).values() if names)
    assert {node.name for node in fused} == {"conv", "relu"}
    assert set(owners(exported, graph.node, replaced(exported, graph)).values()) == {"layer"}


def test_an_integer_convolution_is_found_through_its_quantisers(quantized, tmp_path):
    exported = Exported(quantized.graph)
    graph = optimized(quantized, tmp_path)
    integer = next(node for node in graph.node if node.op_type == "QLinearConv")

    assert owners(exported, graph.node, replaced(exported, graph))[integer.name] == "layer.conv"
    assert "conv" in {node.name for node in replaced(exported, graph)[integer.name]}


def test_the_size_of_a_stored_weight_is_that_of_its_type(quantized):
    exported = Exported(quantized.graph)
    weight = exported.weight(exported.makers["c"])

    assert (weight.shape, weight.num_bytes) == ((16, 16, 1, 1), 256)


def test_what_no_module_does_is_the_networks_own():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {}, [1, 16, 8, 8])

    assert Exported(model.graph).module(model.graph.node[0]) == NETWORK

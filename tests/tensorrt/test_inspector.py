import json

import pytest

from compressor.tensorrt.inspector import PlanTensor, read_layers

FUSED = "[ONNX Layer: node_conv2d]\x1f[ONNX Layer: node_relu]\x1e[ONNX Layer: node_conv2d]"


UNTYPED = {"Name": "x", "Dimensions": [-1, 8], "Format/Datatype": "N/A due to dynamic shapes"}


def read(products=None, **layer):
    """The one layer of a plan."""
    text = json.dumps({"Layers": [{"Name": "layer", **layer}]})
    return read_layers(text, "net.plan", products)[0]


@pytest.mark.parametrize(
    ("layer", "nodes"),
    [
        ({"Metadata": FUSED}, ("node_conv2d", "node_relu")),
        ({"Metadata": "[ONNX Layer: /a[0]/Conv][ONNX Layer: b]"}, ("/a[0]/Conv", "b")),
        ({"Metadata": "[ONNX Layer: conv | block (Block)]\x1f[ONNX Layer: b]"}, ("conv", "b")),
        ({"Name": "conv1 + relu1", "Metadata": ""}, ("conv1", "relu1")),
        ({"Name": "conv1"}, ("conv1",)),
    ],
)
def test_the_nodes_that_a_layer_holds_are_named_once_each(layer, nodes):
    assert read(**layer).nodes == nodes


@pytest.mark.parametrize(
    "kind", [{"Format/Datatype": "Channel major FP16 format"}, {"Datatype": "Half"}]
)
def test_the_size_of_a_tensor_follows_from_its_dimensions_and_type(kind):
    layer = read(Inputs=[{"Name": "x", "Dimensions": [2, 3, 4], **kind}], Outputs=[])

    assert (layer.inputs, layer.outputs) == ((PlanTensor("x", 48),), ())


@pytest.mark.parametrize(
    "tensor",
    [
        {"Dimensions": [-1, 8], "Datatype": "Float"},
        {"Dimensions": [1, 8], "Datatype": "Strange"},
        {"Datatype": "Float"},
    ],
)
def test_a_size_that_is_free_or_not_said_is_unknown(tensor):
    assert read(Outputs=[{"Name": "y", **tensor}]).outputs == (PlanTensor("y", None),)


def test_half_bytes_are_filled_up():
    tensor = {"Name": "y", "Dimensions": [3], "Datatype": "Int4"}

    assert read(Outputs=[tensor]).outputs[0].num_bytes == 2


def test_the_engines_word_for_a_layer_is_kept():
    assert read(LayerType="CaskConvolution").kind == "CaskConvolution"
    assert read().kind == ""


@pytest.mark.parametrize(
    "layer",
    [
        {"LayerType": "kgen", "Metadata": FUSED},
        {"LayerType": "CaskConvolution", "Name": "node_conv2d + node_relu"},
        {"LayerType": "CaskConvolution", "Name": "main"},
        {"LayerType": "fusion", "ParameterType": "MatrixMultiply"},
    ],
)
def test_a_layer_that_holds_a_product_of_the_file_is_one_whatever_it_is_called(layer):
    assert read({"node_conv2d"}, **layer).is_product


@pytest.mark.parametrize(
    "layer",
    [
        {"LayerType": "kgen", "Metadata": "[ONNX Layer: /conv1/Relu]"},
        {"LayerType": "PointWiseV2", "Metadata": "[ONNX Layer: conv2d_3_QuantizeLinear]"},
        {"LayerType": "CaskPooling", "Metadata": "[ONNX Layer: /features/conv_block/MaxPool]"},
        {"LayerType": "PointWiseV2", "Name": "conv_relu", "TacticName": "conv_helper"},
        {"LayerType": "Reformat", "Metadata": "[ONNX Layer: /conv1/Conv]"},
    ],
)
def test_a_layer_named_after_a_product_beside_it_is_none(layer):
    assert not read({"/conv1/Conv", "conv2d_3", "/features/conv_block/Conv"}, **layer).is_product


def test_without_the_file_the_engines_word_says_what_a_layer_is():
    assert read(LayerType="CaskConvolution", Metadata=FUSED).is_product
    assert not read(LayerType="kgen", Metadata=FUSED).is_product


@pytest.mark.parametrize("key", ["Type", "Datatype"])
def test_where_sizes_are_free_the_weights_say_the_precision(key):
    weights = {key: "Half", "Count": 9408}
    assert read(Inputs=[UNTYPED], Weights=weights).precision == "fp16"
    assert read(Inputs=[UNTYPED]).precision == "unknown"
    assert read(Inputs=[UNTYPED | {"Format/Datatype": "Int8"}], Weights=weights).precision == "int8"


@pytest.mark.parametrize(
    ("layer", "is_sparse"),
    [
        ({"LayerType": "CaskConvolution", "TacticName": "sm80_xmma_fprop_sparse_conv"}, True),
        ({"LayerType": "CaskGemm", "TacticName": "cutlass_80_tensorop_f16_s16832spgemm"}, True),
        ({"LayerType": "CaskGemm", "TacticName": "sgemm_sp_32x32_tn"}, False),
        ({"LayerType": "SparseToDense", "TacticName": "SparseToDense"}, False),
        ({"LayerType": "CaskConvolution", "TacticName": "sm80_xmma_fprop"}, False),
    ],
)
def test_a_sparse_tactic_is_that_of_a_product_and_named_so(layer, is_sparse):
    assert read(**layer).is_sparse is is_sparse

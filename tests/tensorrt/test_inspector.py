import json

import pytest

from compressor.tensorrt.inspector import PlanTensor, read_layers

FUSED = "[ONNX Layer: node_conv2d]\x1f[ONNX Layer: node_relu]\x1e[ONNX Layer: node_conv2d]"


def read(**layer):
    """The one layer of a plan."""
    return read_layers(json.dumps({"Layers": [{"Name": "layer", **layer}]}), "net.plan")[0]


@pytest.mark.parametrize(
    ("layer", "nodes"),
    [
        ({"Metadata": FUSED}, ("node_conv2d", "node_relu")),
        ({"Metadata": "[ONNX Layer: /a[0]/Conv][ONNX Layer: b]"}, ("/a[0]/Conv", "b")),
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

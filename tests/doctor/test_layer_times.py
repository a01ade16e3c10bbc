import numpy as np
import pytest
from onnx import helper

from compressor.doctor.graphs import Weight
from compressor.doctor.layer_times import channels, layer_times
from compressor.doctor.onnxruntime_times import profile_files
from compressor.export.graph_count import node_macs, onnx_macs

BATCH = 2


@pytest.fixture(scope="module")
def layers(networks):
    images = np.ones((BATCH, 3, 16, 16), np.float32)
    profiles = profile_files(networks, images, 1, 2)
    return {name: layer_times(path, profiles[name], BATCH) for name, path in networks.items()}


def test_the_layers_share_all_macs_of_the_network(layers, networks):
    for name, path in networks.items():
        assert sum(layer.macs for layer in layers[name].values()) == BATCH * onnx_macs(path)
        assert sum(node_macs(path).values()) == onnx_macs(path)


def test_both_networks_have_layers_of_the_same_names_with_channels_of_their_own(layers):
    widths = {
        name: (found["block.conv1"].in_channels, found["block.conv1"].out_channels)
        for name, found in layers.items()
    }

    assert widths == {"dense": (32, 32), "slim": (32, 18)}
    assert layers["slim"]["block.conv2"].in_channels == 18
    assert layers["slim"]["classifier"].op == "Gemm"
    assert layers["slim"]["block.conv1"].macs == BATCH * 32 * 18 * 9 * 16 * 16


def test_a_layer_moves_at_least_its_weights_and_what_it_writes(layers):
    layer = layers["dense"]["block.conv1"]

    assert layer.moved_bytes >= 4 * (32 * 32 * 9 + BATCH * 32 * 16 * 16)


@pytest.mark.parametrize(
    ("op", "attributes", "shape", "expected"),
    [
        ("Conv", {}, (8, 6, 3, 3), (6, 8)),
        ("Conv", {"group": 4}, (8, 2, 3, 3), (8, 8)),
        ("ConvTranspose", {"group": 2}, (6, 4, 2, 2), (6, 8)),
        ("Gemm", {"transB": 1}, (10, 64), (64, 10)),
        ("Gemm", {}, (64, 10), (64, 10)),
        ("MatMul", {}, (64, 10), (64, 10)),
    ],
)
def test_channels_are_read_off_the_weight_as_its_operator_has_it(op, attributes, shape, expected):
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)

    assert channels(node, Weight("w", shape, 0)) == expected

"""MACs read off exported graphs, against those counted in PyTorch and against closed forms."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from compressor.count import count
from compressor.errors import ExportError, ModelError
from compressor.export.graph_count import onnx_macs
from compressor.export.onnx import ExportSettings, export_onnx


def vit():
    return VisionTransformer(32, 16, num_layers=1, num_heads=4, hidden_dim=32, mlp_dim=64)


def swin():
    return SwinTransformer([4, 4], 24, [1, 2], [2, 4], [4, 4], num_classes=10)


NETWORKS = {
    "resnet": lambda: resnet18(num_classes=10),
    "mobilenet": lambda: mobilenet_v3_small(num_classes=10),
    "vit": vit,
    "swin": swin,
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 6, 3, stride=2), nn.Conv2d(6, 4, 3, groups=2), nn.Flatten(2)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_graph_and_network_count_the_same(name, tmp_path):
    net = NETWORKS[name]().eval()
    export_onnx(net, (3, 32, 32), tmp_path / "net.onnx", ExportSettings())
    assert onnx_macs(tmp_path / "net.onnx") == count(net, torch.zeros(2, 3, 32, 32)).macs


def test_attention_as_one_operator_counts_its_two_products(tmp_path):
    net = vit().eval()
    export_onnx(net, (3, 32, 32), tmp_path / "net.onnx", ExportSettings(opset=23))
    operators = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert "Attention" in operators
    assert onnx_macs(tmp_path / "net.onnx") == count(net, torch.zeros(2, 3, 32, 32)).macs


def save(path, nodes, inputs, output, opset=20):
    """A graph of ``nodes`` from inputs of these shapes to one output."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "graph", ends, [out])
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


@pytest.mark.parametrize(("turned", "weight"), [(0, [7, 5]), (1, [5, 7])])
def test_gemm_is_counted_with_either_order_of_its_weight(tmp_path, turned, weight):
    node = helper.make_node("Gemm", ["x", "w"], ["out"], transB=turned)
    constant = helper.make_node(
        "ConstantOfShape", ["shape"], ["w"], value=helper.make_tensor("v", 1, [1], [1.0])
    )
    shape = helper.make_node("Constant", [], ["shape"], value_ints=weight)
    save(tmp_path / "net.onnx", [shape, constant, node], {"x": ["n", 7]}, ["n", 5])
    assert onnx_macs(tmp_path / "net.onnx") == 35


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_products_are_those_of_one_image(tmp_path, batch):
    node = helper.make_node("MatMul", ["x", "y"], ["out"])
    inputs = {"x": [batch, 3, 7], "y": [batch, 7, 5]}
    save(tmp_path / "net.onnx", [node], inputs, [batch, 3, 5])
    assert onnx_macs(tmp_path / "net.onnx") == 3 * 7 * 5


def test_products_that_cannot_be_followed_are_named(tmp_path):
    node = helper.make_node("Einsum", ["x", "x"], ["out"], "sum", equation="ij,ij->i")
    save(tmp_path / "net.onnx", [node], {"x": [2, 3]}, [2])
    with pytest.raises(ExportError, match=r"net.onnx: sum is a Einsum, whose products are not"):
        onnx_macs(tmp_path / "net.onnx")


def test_shapes_that_stay_unknown_are_named(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["y", "floats"], ["product"], "product"),
        helper.make_node("ReduceSum", ["product"], ["out"]),
    ]
    save(tmp_path / "net.onnx", nodes, {"x": [1, 3], "y": ["n", 2]}, [1, 1])
    with pytest.raises(ExportError, match=r"the shape of \w+ at product is not known before"):
        onnx_macs(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"no graph", None])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, content):
    if content:
        (tmp_path / "net.onnx").write_bytes(content)
    said = "is not an ONNX file" if content else "there is no such file"
    with pytest.raises(ModelError, match=said) as told:
        onnx_macs(tmp_path / "net.onnx")
    assert str(told.value).startswith(str(tmp_path / "net.onnx"))
    assert "\n" not in str(told.value)

import numpy as np
import onnx
import pytest

from compressor.export.quant_layers import layers_of, name_nodes_, nodes_of

GRAPH = """
net (float[b, 3, 8, 8] x) => (y)
{
    [pre] p = Relu(x)
    [conv] q = Conv(p, a)
    [act] r = Relu(q)
    [again] s = Conv(r, b)
    [twice] t = Conv(s, b)
    [product] y = MatMul(t, t)
}
"""


@pytest.fixture
def graph():
    graph = onnx.parser.parse_graph(GRAPH)
    for name in ("a.weight", "b.weight"):
        array = np.ones((3, 3, 1, 1), dtype=np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for node in graph.node:
        node.input[:] = [f"{name}.weight" if name in "ab" else name for name in node.input]
    return graph


def test_every_node_is_in_one_layer_in_the_order_of_the_graph(graph):
    layers = layers_of(graph)

    assert layers == {
        "a": ("pre", "conv", "act"),
        "b (again)": ("again",),
        "b (twice)": ("twice",),
        "product": ("product",),
    }


def test_nodes_of_kept_layers_are_listed(graph):
    assert nodes_of(layers_of(graph), frozenset({"product", "a"})) == [
        "pre",
        "conv",
        "act",
        "product",
    ]


def test_nodes_without_a_name_of_their_own_get_one(graph):
    graph.node[0].name = ""
    graph.node[2].name = "conv"

    name_nodes_(graph)

    names = [node.name for node in graph.node]
    assert names == ["Relu_0", "conv", "Relu_2", "again", "twice", "product"]


def test_a_graph_without_layers_has_none():
    graph = onnx.parser.parse_graph("net (float[b] x) => (y) { y = Relu(x) }")

    assert layers_of(graph) == {}

"""Small ONNX files: one convolution, in any precision and with any of the faults that are known."""

import numpy as np
import onnx
from onnx import TensorProto, helper

CHANNELS, SIZE, FILTERS = 4, 16, 8

TYPES = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}
# Quantisation -> type and zero point of the activations, type of the weights.
QUANTISED = {
    "int8": (TensorProto.INT8, 0, TensorProto.INT8),
    "uint8": (TensorProto.UINT8, 128, TensorProto.INT8),
    "shifted": (TensorProto.INT8, 3, TensorProto.INT8),
    "biased": (TensorProto.INT8, 0, TensorProto.INT8),
    "fp8": (TensorProto.FLOAT8E4M3FN, 0, TensorProto.FLOAT8E4M3FN),
}


def dense_weight(channels=CHANNELS):
    return np.random.default_rng(0).standard_normal((FILTERS, channels, 3, 3)) * 0.2


def two_of_four(weight):
    """The weight with the last two of each four input channels zero."""
    kept = np.arange(weight.shape[1]) % 4 < 2
    return weight * kept[None, :, None, None]


def convolution(path, kind="fp32", batch="batch", size=SIZE, weight=None, weight_kind=None):
    """Write ``Relu(Conv(images))`` in the precision ``kind``, a key of one of the tables."""
    weight = dense_weight() if weight is None else weight
    element = TYPES.get(kind, TensorProto.FLOAT)
    if kind in QUANTISED:
        nodes, tensors, inputs = quantised(kind, weight)
    else:
        stored = TYPES[weight_kind] if weight_kind else element
        tensors = [
            helper.make_tensor("weight", stored, weight.shape, weight.flatten()),
            helper.make_tensor("bias", element, (FILTERS,), np.full(FILTERS, 0.1)),
        ]
        nodes, inputs = [], ["images", "weight", "bias"]
    nodes.append(helper.make_node("Conv", inputs, ["convolved"], name="conv"))
    nodes.append(helper.make_node("Relu", ["convolved"], ["logits"], name="relu"))
    shape = [batch, weight.shape[1], size, size]
    images = helper.make_tensor_value_info("images", element, shape)
    logits = helper.make_tensor_value_info("logits", element, [batch, FILTERS, None, None])
    return save(path, nodes, [images], [logits], tensors)


def quantised(kind, weight):
    """Nodes and tensors of a convolution between Q/DQ pairs, and what the convolution reads."""
    active, zero, stored = QUANTISED[kind]
    scales = np.abs(weight).max((1, 2, 3)) / 127
    whole = np.round(weight / scales[:, None, None, None])
    tensors = [
        helper.make_tensor("scale", TensorProto.FLOAT, (), [0.02]),
        helper.make_tensor("zero", active, (), [zero]),
        helper.make_tensor("scales", TensorProto.FLOAT, (FILTERS,), scales),
        helper.make_tensor("zeros", stored, (FILTERS,), np.zeros(FILTERS, int)),
        helper.make_tensor("whole", stored, weight.shape, whole.flatten().astype(int)),
    ]
    pair = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", *pair], ["small"], name="quantise"),
        helper.make_node("DequantizeLinear", ["small", *pair], ["back"], name="dequantise"),
        helper.make_node(
            "DequantizeLinear", ["whole", "scales", "zeros"], ["weight"], name="weights", axis=0
        ),
    ]
    if kind == "biased":
        nodes.append(
            helper.make_node("DequantizeLinear", ["int_bias", "scales"], ["bias"], name="biases")
        )
        nodes[-1].attribute.append(helper.make_attribute("axis", 0))
        tensors.append(
            helper.make_tensor("int_bias", TensorProto.INT32, (FILTERS,), np.ones(FILTERS, int))
        )
    else:
        tensors.append(
            helper.make_tensor("bias", TensorProto.FLOAT, (FILTERS,), np.full(FILTERS, 0.1))
        )
    return nodes, tensors, ["back", "weight", "bias"]


def product(path, name="Gemm", transposed=True, weight=None):
    """Write ``Gemm`` or ``MatMul`` of images with 8 features."""
    weight = np.ones((6, 8) if transposed else (8, 6)) if weight is None else weight
    node = helper.make_node(name, ["images", "weight"], ["logits"], name="linear")
    if name == "Gemm":
        node.attribute.append(helper.make_attribute("transB", int(transposed)))
    tensors = [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.flatten())]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6])
    return save(path, [node], [images], [logits], tensors)


def kinds_in_turn(path, kinds):
    """Write convolutions one after the other, each in its own type."""
    nodes, tensors, last = [], [], "images"
    for i, kind in enumerate(kinds):
        element = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}[kind]
        tensors.append(helper.make_tensor(f"w{i}", element, (4, 4, 1, 1), [0.5] * 16))
        nodes += [
            helper.make_node("Cast", [last], [f"x{i}"], to=element),
            helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"y{i}"], name=f"conv{i}"),
        ]
        last = f"y{i}"
    nodes.append(helper.make_node("Cast", [last], ["logits"], to=TensorProto.FLOAT))
    images, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4, 8, 8])
        for name in ("images", "logits")
    )
    return save(path, nodes, [images], [logits], tensors)


def save(path, nodes, inputs, outputs, tensors):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path

"""What a float16 file computes on an engine that has float16, worked out on one that has not.

ONNX Runtime's CPU provider widens a float16 network and keeps float32 between its nodes, so nothing
ever overflows there, and overflow is how networks fail in float16. In the twin of a file each node
computes in float32, as tensor cores sum, and its result is rounded to float16 and back.
"""

from typing import Any

import numpy as np

from compressor.bench.runner import import_engine


def float32_twin(proto: Any) -> Any:
    """A float32 network that rounds to float16 wherever ``proto`` is float16.

    Args:
        proto: A ``ModelProto`` with float32 inputs and outputs; left as it is.
    """
    onnx = import_engine("onnx", "onnx")
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    twin = onnx.shape_inference.infer_shapes(proto)
    rounded = {
        value.name for value in twin.graph.value_info if value.type.tensor_type.elem_type == half
    }
    del twin.graph.value_info[:]
    for tensor in twin.graph.initializer:
        _widen_(onnx, tensor)
    nodes = []
    for node in twin.graph.node:
        for attribute in node.attribute:
            _widen_(onnx, attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in rounded:
                node.output[place] = f"{name}/wide"
                nodes += [
                    onnx.helper.make_node("Cast", [f"{name}/wide"], [f"{name}/half"], to=half),
                    onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=single),
                ]
    del twin.graph.node[:]
    twin.graph.node.extend(nodes)
    return twin


def _widen_(onnx: Any, tensor: Any) -> None:
    """Make a float16 tensor float32; its values stay."""
    if tensor.data_type == onnx.TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

"""Small networks of one layer, several times beside each other, as a module and as an ONNX file.

All copies read the same input and each is averaged to one number a channel. So what several copies
take more than one is the layer alone: the call, the change of layout of the input and the output
are in both.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressor.bench.engines import Side
from compressor.bench.runner import import_engine
from compressor.strip.layer_shapes import LayerShape

OPSET, IR_VERSION = 18, 8  # read by every ONNX Runtime that this project supports
WEIGHT_SEED = 0
SPREAD = 0.02
"""Of the random weights; small, so that no output overflows."""


class Copies(nn.Module):
    """Copies of one layer beside each other, their averaged outputs added."""

    def __init__(self, shape: LayerShape, num_copies: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(shape) for _ in range(num_copies))
        generator = torch.Generator().manual_seed(WEIGHT_SEED)
        for parameter in self.parameters():
            parameter.data.uniform_(-SPREAD, SPREAD, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(batch, out)``; ``(vectors,)`` for a linear layer."""
        averaged = [
            layer(x).flatten(2).mean(2) if x.dim() > 2 else layer(x).mean(1)
            for layer in self.layers
        ]
        return torch.stack(averaged).sum(0)


def _layer(shape: LayerShape) -> nn.Module:
    """The layer, its weights not yet set."""
    if not shape.kernel:
        return nn.Linear(shape.into, shape.out, device="meta").to_empty(device="cpu")
    height, width = shape.kernel
    return nn.Conv2d(
        shape.in_channels,
        shape.out,
        (height, width),
        stride=shape.stride,  # type: ignore[arg-type]  # two numbers, as all of these
        padding=shape.padding,  # type: ignore[arg-type]
        dilation=shape.dilation,  # type: ignore[arg-type]
        groups=shape.groups,
        device="meta",
    ).to_empty(device="cpu")


def side_of(shape: LayerShape, num_copies: int, batch_size: int, folder: Path) -> Side:
    """Copies of a layer in the forms that engines run; the file is written into ``folder``."""
    module = Copies(shape, num_copies)
    path = folder / f"{num_copies}.onnx"
    path.write_bytes(_proto(shape, module, batch_size).SerializeToString())
    height, width = shape.image if shape.kernel else (1, 1)
    return Side(module, path, (shape.in_channels, height, width))


def batch_of(shape: LayerShape, batch_size: int) -> Tensor:
    """A random input for the copies of a layer."""
    generator = torch.Generator().manual_seed(WEIGHT_SEED)
    return torch.randn(*_input_shape(shape, batch_size), generator=generator)


def _input_shape(shape: LayerShape, batch_size: int) -> list[int]:
    if not shape.kernel:
        return [batch_size * shape.positions, shape.into]
    return [batch_size, shape.in_channels, *shape.image]


def _proto(shape: LayerShape, module: Copies, batch_size: int) -> Any:
    onnx = import_engine("onnx", "onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes, weights = [], []
    for number, layer in enumerate(module.layers):
        names = [f"weight{number}", f"bias{number}"]
        for name, tensor in zip(names, (layer.weight, layer.bias), strict=True):
            assert isinstance(tensor, Tensor)
            weights.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), name))
        nodes += _nodes(helper, shape, ["x", *names], number)
    made = [batch_size, shape.out, 1, 1]
    if not shape.kernel:
        made = [batch_size * shape.positions, 1]
        weights.append(helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1]))
    nodes.append(helper.make_node("Sum", [f"mean{n}" for n in range(len(module.layers))], ["sum"]))
    graph = helper.make_graph(
        nodes,
        "copies",
        [helper.make_tensor_value_info("x", float32, _input_shape(shape, batch_size))],
        [helper.make_tensor_value_info("sum", float32, made)],
        weights,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _nodes(helper: Any, shape: LayerShape, inputs: list[str], number: int) -> list[Any]:
    """The layer, and the average of what it makes."""
    output, mean = [f"y{number}"], [f"mean{number}"]
    if not shape.kernel:
        gemm = helper.make_node("Gemm", inputs, output, transB=1)
        return [gemm, helper.make_node("ReduceMean", [*output, "axis"], mean)]
    convolution = helper.make_node(
        "Conv",
        inputs,
        output,
        kernel_shape=shape.kernel,
        strides=shape.stride,
        pads=shape.padding * 2,
        dilations=shape.dilation,
        group=shape.groups,
    )
    return [convolution, helper.make_node("GlobalAveragePool", output, mean)]

"""How many channels ONNX Runtime handles at once here, seen in what it makes of one layer.

Its blocked layout pads channels with zeros to whole blocks, 16 with AVX-512 and 8 with AVX2, so
the latency of a convolution goes by blocks begun and not by channels.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

from compressor.bench.runner import import_engine

PROBE_CHANNELS = 20
"""No multiple of 8 or 16, but of 4: an odd number would not be blocked at all."""

BLOCKS = (8, 16)
PROBE_SIDE = 8
PROBE_OPSET, PROBE_IR = 18, 8  # read by every ONNX Runtime that this project supports


@functools.cache
def onnxruntime_block() -> int | None:
    """Channels in one block of ONNX Runtime's layout on this CPU; None where it has no blocks.

    Found once in a process, in some milliseconds; nothing is timed.

    Raises:
        MissingExtra: ONNX or ONNX Runtime is not installed.
    """
    return block_of(padded_filters())


def block_of(filters: int) -> int | None:
    """The block that pads `PROBE_CHANNELS` to ``filters``; None if they are as they were."""
    padded = {-(-PROBE_CHANNELS // block) * block: block for block in BLOCKS}
    return padded.get(filters)


def padded_filters() -> int:
    """Filters that ONNX Runtime makes of a convolution with `PROBE_CHANNELS` of them."""
    onnx, ort = import_engine("onnx", "onnx"), import_engine("onnxruntime", "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # it warns that a saved graph is for this machine alone
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        proto = _probe(onnx).SerializeToString()
        ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(path).graph
    convolution = next(node for node in graph.node if node.op_type == "Conv")
    sizes = {tensor.name: tensor.dims[0] for tensor in graph.initializer}
    return int(sizes[convolution.input[1]])


def _probe(onnx: Any) -> Any:
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    shape = [1, PROBE_CHANNELS, PROBE_SIDE, PROBE_SIDE]
    weight = helper.make_tensor(
        "weight", float32, [PROBE_CHANNELS, PROBE_CHANNELS, 1, 1], [0.5] * PROBE_CHANNELS**2
    )
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", float32, shape)],
        [helper.make_tensor_value_info("y", float32, shape)],
        [weight],
    )
    opset = helper.make_opsetid("", PROBE_OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=PROBE_IR)

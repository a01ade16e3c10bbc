"""Networks in float16 with float32 inputs and outputs, by ONNX Runtime's converter.

On a CPU this halves the file and nothing else: ONNX Runtime computes in float32 there.
"""

import warnings
from pathlib import Path
from typing import Any

from compressor.bench.runner import import_engine
from compressor.chatter import no_chatter
from compressor.errors import ExportError
from compressor.export.profiles import PROFILES
from compressor.export.quant_layers import Layers, layers_of, name_nodes_, nodes_of
from compressor.export.structure_checks import fault_of_validity
from compressor.file_profile import FileProfile, note_profile_
from compressor.files import sha256, whole_file

SINGLE, HALF = 1, 10  # ONNX's numbers for float32 and float16


def layers_of_file(source: Path) -> Layers:
    """The layers of the float32 file at ``source``, by the names that ``write_fp16`` knows."""
    graph = import_engine("onnx", "onnx").load(str(source)).graph
    name_nodes_(graph)
    return layers_of(graph)


def write_fp16(source: Path, path: Path, kept: frozenset[str]) -> None:
    """Write the network in ``source`` to ``path`` in float16.

    Weights beyond float16's range are clamped to it: the figures of the file tell.

    Args:
        source: A float32 file that this project exported.
        path: Where the file goes.
        kept: Names of layers that stay in float32.

    Raises:
        ExportError: ONNX's checker refuses what was written.
        MissingExtra: ONNX or ONNX Runtime is not installed.
    """
    onnx = import_engine("onnx", "onnx")
    proto = onnx.load(str(source))
    name_nodes_(proto.graph)
    excluded = nodes_of(layers_of(proto.graph), kept)
    converter = import_engine("onnxruntime.transformers.float16", "onnxruntime")
    models = import_engine("onnxruntime.quantization.onnx_model", "onnxruntime")
    with no_chatter(), warnings.catch_warnings():
        # It warns once for each value that it clamps.
        warnings.simplefilter("ignore")
        half = converter.convert_float_to_float16(
            proto, keep_io_types=True, node_block_list=excluded
        )
    mend_casts_(half.graph)
    del half.graph.value_info[:]  # of the float32 network, and of both where layers are kept
    # The casts of the inputs stand behind their readers otherwise.
    models.ONNXModel(half).topological_sort()
    note_profile_(half, FileProfile("fp16", PROFILES["fp16"].engines, sha256(source)))
    with whole_file(path) as temporary:
        temporary.write_bytes(half.SerializeToString(deterministic=True))
        if fault := fault_of_validity(onnx, temporary):
            raise ExportError(f"{path}: {fault}")


def mend_casts_(graph: Any) -> None:
    """Make the converter's casts around kept nodes one for each tensor, and none between two.

    It casts what a kept node gives to float16 and back for the next one, even if that is kept too:
    what is kept since it overflows would overflow there. For two kept readers of one tensor it
    writes the same cast twice, which is no valid graph.
    """
    # Of each value the float32 one that it stands for; weights of kept nodes are float32 already.
    wide_of = {
        tensor.name: tensor.name for tensor in graph.initializer if tensor.data_type == SINGLE
    }
    instead: dict[str, str] = {}
    for node in graph.node:
        if _casts(node, HALF):
            wide_of[node.output[0]] = node.input[0]
    outputs = {value.name for value in graph.output}
    nodes, made = [], set[str]()
    for node in graph.node:
        back = _casts(node, SINGLE) and node.input[0] in wide_of
        if back and node.output[0] in outputs:
            # The output keeps its name, hence a cast, now from float32 to float32.
            node.input[0] = wide_of[node.input[0]]
        elif back:
            instead[node.output[0]] = wide_of[node.input[0]]
            continue
        if not made.issuperset(node.output):
            made.update(node.output)
            nodes.append(node)
    for node in nodes:
        node.input[:] = [instead.get(name, name) for name in node.input]
    read = {name for node in nodes for name in node.input} | outputs
    del graph.node[:]
    graph.node.extend(n for n in nodes if n.op_type != "Cast" or n.output[0] in read)


def _casts(node: Any, kind: int) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == kind)

"""Networks in bfloat16 with float32 inputs and outputs, their norms folded in PyTorch first.

The exporter folds norms too, but in a bfloat16 network it writes the folded weights as float32,
which no engine takes.
"""

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from compressor.bench.runner import import_engine
from compressor.errors import ExportError
from compressor.export.onnx import exported, without_stack_traces
from compressor.export.profiles import PROFILES
from compressor.export.quant_layers import LAYERS
from compressor.export.structure_checks import fault_of_validity
from compressor.export.verify import FP32_TOLERANCE, relative_l2
from compressor.file_profile import FileProfile, note_profile_
from compressor.files import sha256, whole_file

BF16_OPSET = 22  # the first in which a convolution may be bfloat16

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FOLDABLE = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


class _Bf16(nn.Module):
    """A network in bfloat16 between casts, so that it is fed and read as the float32 one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(torch.bfloat16))
        return logits.float()


def write_bf16(
    model: nn.Module, image_shape: tuple[int, int, int], source: Path, path: Path
) -> None:
    """Write ``model``, as it is in evaluation mode, to ``path`` in bfloat16.

    The file has opset 22, whatever that of ``source`` is.

    Args:
        model: A float32 network; left as it is. Norms are folded where their input is just what a
            convolution or linear layer of the network gave, whatever forward looks like; a norm
            written with functions, or inside a captured graph, cannot be folded.
        image_shape: Channels, height, width.
        source: The float32 file of the same network, named in the metadata.
        path: Where the file goes.

    Raises:
        ExportError: Norms cannot be folded or the network not be exported.
        MissingExtra: ONNX or its exporter is not installed.
    """
    onnx = import_engine("onnx", "onnx")
    import_engine("onnxscript", "onnxscript")
    folded = fold_norms(model, image_shape)
    proto = without_stack_traces(exported(_Bf16(folded), image_shape, BF16_OPSET))
    if fault := fault_of_types(onnx, proto.graph):
        raise ExportError(f"{path}: {fault}")
    note_profile_(proto, FileProfile("bf16", PROFILES["bf16"].engines, sha256(source)))
    with whole_file(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
        if fault := fault_of_validity(onnx, temporary):
            raise ExportError(f"{path}: {fault}")


def fold_norms(model: nn.Module, image_shape: tuple[int, int, int]) -> nn.Module:
    """A copy of ``model`` in evaluation mode, with its batch norms taken into the layers before.

    Which norm stands behind which layer is seen by running the network once: no form of forward is
    asked for. The copy is compared with the network afterwards.

    Raises:
        ExportError: Folding changed the function: a layer's output is read by others than its norm.
    """
    network = copy.deepcopy(model).cpu().eval()
    images = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(images)
    for layer_name, norm_name in _pairs(network, images):
        layer, norm = network.get_submodule(layer_name), network.get_submodule(norm_name)
        network.set_submodule(layer_name, _folded(layer, norm))
        network.set_submodule(norm_name, nn.Identity())
    with torch.inference_mode():
        gap = relative_l2(before, network(images))
    if not gap <= FP32_TOLERANCE:
        raise ExportError(
            f"Folding the norms of {type(model).__name__} changes its outputs by {gap:.2g}: "
            "a layer before a norm is read by others too. Choose another precision than bf16."
        )
    return network


def _pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Names of layers and of the norms that read just their output; each ran once."""
    made: list[tuple[str, Tensor]] = []
    pairs: list[tuple[str, str]] = []

    def note_layer(name: str) -> Any:
        return lambda _module, _inputs, output: made.append((name, output))

    def note_norm(name: str) -> Any:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            pairs.extend((layer, name) for layer, output in made if output is inputs[0])

        return note

    with ExitStack() as stack, torch.inference_mode():
        for name, module in network.named_modules():
            if isinstance(module, FOLDABLE):
                stack.callback(module.register_forward_hook(note_layer(name)).remove)
            elif isinstance(module, _BatchNorm) and module.track_running_stats:
                stack.callback(module.register_forward_pre_hook(note_norm(name)).remove)
        network(images)
    runs = [name for name, _output in made]
    norms = [norm for _layer, norm in pairs]
    return [
        (layer, norm) for layer, norm in pairs if runs.count(layer) == 1 and norms.count(norm) == 1
    ]


def _folded(layer: nn.Module, norm: nn.Module) -> nn.Module:
    assert isinstance(norm, _BatchNorm), "pairs hold norms"
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    assert isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)), "pairs hold foldable layers"
    return fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, TRANSPOSED))


def fault_of_types(onnx: Any, graph: Any) -> str | None:
    """No layer's weight is float32 in a bfloat16 graph."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        wrong = [name for name in node.input if types.get(name) == onnx.TensorProto.FLOAT]
        if node.op_type in LAYERS and wrong:
            return (
                f"{wrong[0]} is float32 in a bfloat16 network, since a norm was folded too late. "
                "Write norms as modules behind their layers, or choose another precision."
            )
    return None

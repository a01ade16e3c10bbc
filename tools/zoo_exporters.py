"""Both ONNX exporters of torch, and how far their files are from the network."""

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.errors import CompressorError
from compressor.export.onnx import ExportSettings, exported
from compressor.strip.compare import relative_difference

BATCHES = (1, 2, 7)
"""Batch sizes at which an exported file is compared with the network."""

BOUND = 1e-4
"""How far a file may be from the network, relative to the largest output."""

Row = dict[str, Any]


def in_one_line(failure: BaseException) -> str:
    """First line of a failure, with its type where it is not one of ours."""
    lines = str(failure).strip().splitlines() or ["no message"]
    kind = "" if isinstance(failure, CompressorError) else f"{type(failure).__name__}: "
    return f"{kind}{lines[0]}"


def tensors_of(outputs: Any) -> list[Tensor]:
    """All floating-point tensors that a network returned."""
    leaves = (leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor))
    return [leaf for leaf in leaves if leaf.is_floating_point()]


class FirstTensor(nn.Module):
    """A network that returns the first tensor of what another returns, for the exporters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Its first output: logits, or those of a segmentation."""
        return tensors_of(self.network(images))[0]


def dynamo(model: nn.Module, pixels: int, path: Path) -> None:
    """Write ``model`` by the exporter that ``compressor export`` uses."""
    proto = exported(model, (3, pixels, pixels), ExportSettings().opset)
    path.write_bytes(proto.SerializeToString())


def legacy(model: nn.Module, pixels: int, path: Path) -> None:
    """Write ``model`` by torch's older exporter."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, pixels, pixels),),
        str(path),
        dynamo=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=LEGACY_OPSET,
    )


LEGACY_OPSET = 18
"""The newest that the older exporter writes for all its operators."""

Exporter = Callable[[nn.Module, int, Path], None]
EXPORTERS: dict[str, Exporter] = {"dynamo": dynamo, "legacy": legacy}


def parity(exporter: Exporter, model: nn.Module, pixels: int, seed: int) -> Row:
    """Largest relative difference of file and network over all batches, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        generator = torch.Generator().manual_seed(seed)
        batches = [torch.randn(n, 3, pixels, pixels, generator=generator) for n in BATCHES]
        try:
            with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                # The exporters' own, on what they will deprecate.
                warnings.simplefilter("ignore")
                exporter(model, pixels, path)
            figure = file_difference(path, model, batches)
        except Exception as failure:  # noqa: BLE001  whatever an exporter raises is its reason
            return {"reason": in_one_line(failure)}
    if not figure <= BOUND:
        return {"reason": f"the file differs from the network by {figure:.2g}"}
    return {"max_rel_diff": figure}


@torch.no_grad()
def file_difference(path: Path, model: nn.Module, batches: Sequence[Tensor]) -> float:
    """Largest relative difference between ``model`` and the file at ``path``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    differences = []
    for images in batches:
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        differences.append(relative_difference(model(images), torch.from_numpy(found)))
    return float(torch.tensor(differences).max())

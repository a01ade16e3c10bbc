"""A run folder with two real exported networks, and layers made up for the rules."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressor.doctor.advice import RunFacts
from compressor.doctor.layer_times import LayerTime
from compressor.doctor.onnxruntime_times import OVERHEAD_US
from compressor.export.onnx import ExportSettings, export_onnx
from compressor.files import write_json

IMAGE_SHAPE = (3, 16, 16)


class Block(nn.Module):
    def __init__(self, outer: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(outer, inner, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        inner = torch.relu(self.norm1(self.conv1(images)))
        return torch.relu(images + self.conv2(inner))


class Net(nn.Module):
    """A stem, one residual block whose inner width is ``inner``, and a classifier."""

    def __init__(self, outer: int, inner: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, outer, 3, padding=1)
        self.block = Block(outer, inner)
        self.classifier = nn.Linear(outer, 10)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.block(torch.relu(self.stem(images)))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, Path]:
    """The dense network of widths 32 and 32, and a slim one of 32 and 18."""
    folder = tmp_path_factory.mktemp("networks")
    files = {}
    for name, inner in (("dense", 32), ("slim", 18)):
        torch.manual_seed(0)
        files[name] = folder / f"{name}.onnx"
        export_onnx(Net(32, inner).eval(), IMAGE_SHAPE, files[name], ExportSettings())
    return files


@pytest.fixture
def run(networks, tmp_path) -> Path:
    """The folder of a run: only what the doctor reads of it."""
    folder = tmp_path / "run"
    (folder / "export").mkdir(parents=True)
    shutil.copy(networks["dense"], folder / "export" / "dense.onnx")
    shutil.copy(networks["slim"], folder / "export" / "model.onnx")
    tensors = ["block.conv1.weight", "block.norm1.weight", "block.conv2.weight"]
    write_json(folder / "manifest.json", {"stages": {}})
    write_json(
        folder / "inspect" / "couplings.json",
        {
            "free": [{"name": "block.conv1", "units": 32, "tensors": tensors}],
            "frozen": [{"name": "classifier", "reason": "outputs of the network"}],
        },
    )
    write_json(
        folder / "strip" / "widths.json", [{"coupling": "block.conv1", "units": 32, "kept": 18}]
    )
    write_json(folder / "settings.json", {"strip": {"round_to": 2, "keep_macs": 0.5}})
    return folder


@pytest.fixture
def facts(run) -> RunFacts:
    return RunFacts.read(run)


@pytest.fixture
def make_layer():
    """Make a 3x3 convolution of 64 to 64 channels in 100 us unless told otherwise."""

    def make(**changes) -> LayerTime:
        fields = {
            "name": "block.conv1",
            "us": 100.0,
            "layout_us": 0.0,
            "macs": 10_000_000,
            "moved_bytes": 100_000,
            "num_kernels": 1,
            "op": "Conv",
            "in_channels": 64,
            "out_channels": 64,
        }
        fields |= changes
        return LayerTime(fixed_us=OVERHEAD_US * fields["num_kernels"], **fields)

    return make

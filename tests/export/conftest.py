"""A residual network, and the file that it was exported to, once for all tests."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressor.export.onnx import ExportSettings, export_onnx

IMAGE_SHAPE = (3, 16, 16)


class ResidualNet(nn.Module):
    """Convolutions with norms, a residual addition, dropout and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.block = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.block_norm = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.stem_norm(self.stem(images)))
        hidden = torch.relu(self.block_norm(self.block(hidden)) + hidden)
        return self.head(self.drop(hidden.mean((2, 3))))


def residual_net() -> ResidualNet:
    """Norm statistics are random: those of a new network are the identity and hide mistakes."""
    torch.manual_seed(0)
    net = ResidualNet()
    for norm in (net.stem_norm, net.block_norm):
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(values, 0.5, 1.5)
    return net.train()


@pytest.fixture(scope="session")
def net() -> nn.Module:
    """In training mode, since that is how training leaves it; no test changes it."""
    return residual_net()


@pytest.fixture
def fresh_net() -> nn.Module:
    """The same network, never exported."""
    return residual_net()


@pytest.fixture(scope="session")
def exported(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(net, IMAGE_SHAPE, path, ExportSettings())
    return path

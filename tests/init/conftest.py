"""A folder that nobody prepared, and a small network with weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from compressor.cli import main
from compressor.tasks.model import ModelSettings, build_model

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}
COUNTS = {"blue": 36, "green": 12, "red": 24}
MODES = ("RGB", "L", "RGBA", "P")

NET = """
from torch import nn

def build(num_classes=3, image_size=32):
    def block(inputs, outputs):
        layer = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, num_classes)]
    return nn.Sequential(*block(3, 24), *block(24, 48), *head)

def fixed():
    return build(7)

class Heavy(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 9, padding=4)
        self.rest = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(64, num_classes),
        )

    def forward(self, images):
        # Its channels are those of the images, so most of the work cannot be cut.
        return self.rest(images + self.first(images))

def heavy(num_classes=3, image_size=32):
    return Heavy(num_classes)
"""


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three classes of unequal size, of odd sizes and modes, with a broken and other files."""
    folder, generator = tmp_path_factory.mktemp("mine") / "photos", np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(COUNTS[name]):
            height, width = generator.integers(30, 44, 2)
            noise = generator.integers(-30, 30, (height, width, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            mode = MODES[number % 12] if number % 12 < len(MODES) else "RGB"
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{number:02}.png")
    (folder / "red" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 20)
    (folder / "red" / ".hidden.png").write_bytes(b"")
    (folder / "red" / "notes.txt").write_text("not a picture")
    (folder / "__MACOSX").mkdir()
    return folder


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """The file that builds the network."""
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NET)
    return path


@pytest.fixture(scope="session")
def save_weights(net):
    """Save weights of the network for a number of classes."""

    def save(num_classes):
        torch.manual_seed(num_classes)
        settings = ModelSettings(factory=f"{net}:build")
        path = net.parent / f"{num_classes}.safetensors"
        save_file(build_model(settings, num_classes, 3, (Path(),)).state_dict(), path)
        return path

    return save


@pytest.fixture(autouse=True, scope="session")
def data_folder(tmp_path_factory):
    """Decoded pictures of the tests lie in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESSOR_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def call():
    """Call ``compressor init`` with these words."""

    def run(*words, said=None):
        return CliRunner().invoke(main, ["init", *map(str, words)], input=said)

    return run


@dataclass(frozen=True)
class Made:
    """What a call of the command left: its result, and the recipe."""

    done: Any
    path: Path

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def made(call, net, photos, save_weights, tmp_path_factory):
    """A recipe for the network with weights of the folder's three classes."""
    out = tmp_path_factory.mktemp("made") / "recipe.toml"
    targets = ("--target", "keep_macs=0.5", "--target", "keep_macs=0.25")
    words = ("--model", f"{net}:build", "--data", photos, "--weights", save_weights(3))
    return Made(call(*words, *targets, "--out", out), out)

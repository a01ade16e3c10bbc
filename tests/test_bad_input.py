"""The clumsy user: each fault is one line on stderr, and nothing half-written is left."""

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from compressor.cli import main
from compressor.files import read_json
from compressor.recipe import find_recipe

FACTORIES = """
import torch
from torch import nn


def net(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, num_classes)
    )


def branching(num_classes, in_channels):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(in_channels, 8, 3), nn.Linear(8, num_classes)

        def forward(self, images):
            x = self.stem(images)
            return self.head((x * 2 if x.sum() > 0 else x).mean((2, 3)))

    return Branching()


def raises(num_classes, in_channels):
    raise ValueError("no such widths")


def nothing(num_classes, in_channels):
    return None


def few_outputs(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))


def images_out(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.Conv2d(8, num_classes, 3))


def too_deep(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 9), nn.Flatten(), nn.Linear(8, num_classes))


def rigid(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""
ONE_EPOCH = (
    *("--set", "train.epochs=1", "--set", "train.batch_size=256"),
    *("--set", "tune.epochs=1", "--set", "dense.batch_size=256"),
    *("--set", "model.factory=models/plain.py:plain_net", "--set", "model.arguments.widths=[4, 8]"),
)


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder with a recipe of the user's own and a file of networks."""
    text = find_recipe("digits").read_text().replace("arguments = { widths = [16, 32] }", "")
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "nets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path / "data"))
    return tmp_path


def call(command, *options, recipe="mine.toml"):
    """Call ``command`` and check what holds for every fault; the line that was told."""
    words = (command, recipe, "--out", "out", "--device", "cpu", "--quiet", *options)
    result = CliRunner().invoke(main, words)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].endswith((".", "?", "--resume"))
    return result.exit_code, lines[0]


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("nets.py:gone", "nets.py has no function 'gone'"),
        ("gone.py:net", "gone.py: there is no such file"),
        ("nets.py", "model.factory is 'nets.py'"),
        ("nets.py:raises", "no such widths"),
        ("nets.py:nothing", "gave a NoneType"),
        ("nets.py:branching", "The forward pass reads the value of a tensor"),
        ("nets.py:too_deep", "Kernel size can't be greater"),
        ("nets.py:few_outputs", r"gives outputs of shape [2, 3] for 2 images of 10 classes"),
        ("nets.py:images_out", r"gives outputs of shape [2, 10, 4, 4]"),
        ("nets.py:rigid", "No unit of nets.py:rigid can be removed"),
        ("torchvision:resnet", "torchvision has no model 'resnet'"),
    ],
)
def test_a_network_that_will_not_do_is_found_before_any_training(user, factory, told):
    status, line = call("inspect", "--set", f"model.factory={factory}")
    assert status == 2
    assert told in line
    assert not (user / "out" / "inspect").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("def net(:\n", "cannot be imported: SyntaxError: invalid syntax"),
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("widht\n", "name 'widht' is not defined"),
    ],
)
def test_a_broken_factory_file_is_one_line(user, content, told):
    (user / "broken.py").write_text(content)
    status, line = call("inspect", "--set", "model.factory=broken.py:net")
    assert status == 2
    assert told in line


def test_weights_that_are_none_are_one_line(user):
    (user / "w.safetensors").write_text("no weights")
    for name, told in (("gone.pth", "there are no weights"), ("w.safetensors", "plain weights")):
        status, line = call("inspect", "--set", f"model.weights={name}")
        assert status == 2
        assert told in line


def test_data_that_was_not_fetched_names_the_command(user):
    status, line = call("inspect", "--set", "data.source=mnist")
    assert status == 2
    assert "run `compressor data get mnist`" in line


def test_a_folder_of_one_class_is_one_line(user):
    (user / "pictures" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(user / "pictures" / "cat" / "1.png")
    data = ("data.source=image-folder", "data.path=pictures", "data.image_size=8")
    status, line = call("inspect", *[word for d in data for word in ("--set", d)])
    assert status == 2
    assert "class folders in pictures is 1: give two or more" in line


@pytest.mark.parametrize(("label", "told"), [(-1, "label -1"), (10**9, "label 1000000000")])
def test_labels_outside_the_classes_are_one_line(user, label, told):
    labels = np.arange(40) % 4
    labels[7] = label
    np.savez(user / "a.npz", images=np.zeros((40, 8, 8), np.uint8), labels=labels)
    status, line = call("inspect", "--set", "data.source=npz", "--set", "data.path=a.npz")
    assert status == 2
    assert told in line


def test_fewer_images_than_a_batch_are_one_line(user):
    status, line = call("dense", "--set", "data.train_images=20")
    assert status == 1
    assert "batch_size" in line


def test_a_loss_that_explodes_is_one_line(user):
    lr = ("--set", "dense.lr=1e30", "--set", "dense.schedule=constant")
    status, line = call("dense", *ONE_EPOCH, *lr)
    assert status == 1
    assert "the loss is" in line
    assert "lr" in line
    assert not (user / "out" / "dense").exists()


def test_a_budget_below_the_floor_is_found_before_any_training(user):
    small = ("--set", "strip.keep_macs=0.01", "--set", "strip.floor_share=0.9")
    status, line = call("strip", *ONE_EPOCH, *small)
    assert status == 2
    assert "The budget keeps 0.01 of the MACs, but the floors alone cost" in line
    assert list(read_json(user / "out" / "manifest.json")["stages"]) == ["inspect"]
    assert not (user / "out" / "dense").exists()


def test_a_budget_that_turns_out_too_small_keeps_the_search(user):
    searched = ("train", "mine.toml", "--out", "out", "--device", "cpu", "--quiet", *ONE_EPOCH)
    assert CliRunner().invoke(main, searched).exit_code == 0
    small = ("--set", "strip.keep_macs=0.01", "--set", "strip.floor_share=0.9")
    status, line = call("strip", *ONE_EPOCH, *small)
    assert status == 2
    assert "The budget keeps 0.01 of the MACs, but the floors alone cost" in line
    assert list(read_json(user / "out" / "manifest.json")["stages"]) == [
        *("inspect", "dense", "train")
    ]
    assert not (user / "out" / "strip").exists()


@pytest.mark.parametrize("place", ["mine.toml", "mine.toml/below", "."])
def test_an_out_that_cannot_be_a_run_directory_is_one_line(user, place):
    before = sorted(user.iterdir())
    status, line = call("inspect", "--out", place)
    assert status == 1
    assert "--out" in line
    assert sorted(user.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system of the kernel")
def test_an_out_where_nothing_can_be_made_is_one_line(user):
    status, line = call("inspect", "--out", "/proc/run")
    assert status == 1
    assert line.startswith("/proc/run: the run directory cannot be made")


@pytest.mark.parametrize("recipe", ["gone.toml", ".", "nets.py", "mine.toml.bin", "digts"], ids=str)
def test_a_recipe_that_is_none_is_one_line_and_makes_no_directory(user, recipe):
    (user / "mine.toml.bin").write_bytes(b"\xff\xfe\x00\x00")
    status, line = call("run", recipe=recipe)
    assert status == 2
    assert recipe in line
    assert not (user / "out").exists()


@pytest.mark.parametrize("stage", ["inspect", "train"])
def test_a_disk_that_is_full_is_one_line_and_no_file(user, monkeypatch, stage):
    from compressor import files

    def refuse(_path, _text, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ("inspect" if stage == "inspect" else "dense", *ONE_EPOCH)
    if stage == "train":
        CliRunner().invoke(main, [words[0], "mine.toml", "--out", "out", "--quiet", *words[1:]])
    before = sorted(user.rglob("*"))
    monkeypatch.setattr(files.Path, "write_text", refuse)
    status, line = call(stage, *ONE_EPOCH)
    assert status == 1
    assert "no space left on device. Free some space." in line
    left = set(user.rglob("*")) - set(before) - {user / "out"}
    assert {path.name for path in left} <= {".compressor.lock"}


@pytest.fixture
def small_disk(user):
    """A folder on a disk of 192 KiB."""
    folder = user / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True, timeout=10)


@pytest.mark.parametrize("widths", ["[64, 64]", "[24, 24]"])
def test_a_disk_that_really_fills_up_leaves_only_what_is_whole(small_disk, widths):
    size = ("--set", f"model.arguments.widths={widths}", "--out", str(small_disk / "run"))
    status, line = call("tune", *ONE_EPOCH, *size)
    assert status == 1
    assert "no space left on device. Free some space." in line
    assert line.endswith("--resume")
    finished = set(read_json(small_disk / "run" / "manifest.json")["stages"])
    folders = {p.name for p in (small_disk / "run").iterdir() if p.is_dir()}
    assert {name for name in folders if not name.startswith(".")} == finished

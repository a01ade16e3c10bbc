import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from compressor.data.folder import list_images
from compressor.errors import DataError
from compressor.init import preprocessing
from compressor.init.network import Network
from compressor.init.preprocessing import HALVES, IMAGENET, choose_preprocessing
from compressor.tasks.model import ModelSettings, Start

SIDE = 8


class Level(nn.Module):
    """Names dark pictures 0 and bright ones 1, fed by ``mean`` and ``std``; else, anything 2."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = (torch.tensor(n).view(1, -1, 1, 1) for n in (mean, std))

    def forward(self, images):
        level = (images * self.std + self.mean).mean(dim=(1, 2, 3))
        # Fed otherwise, levels are far from the greys of the pictures.
        dark, bright = (level - 0.78).abs(), (level - 0.82).abs()
        return torch.stack([-dark, -bright, torch.full_like(level, -0.1)], dim=1)


@pytest.fixture
def files(tmp_path):
    for name, value in (("dark", 198), ("white", 210)):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.full((12, 9 + number, 3), value + number // 2, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return list_images(tmp_path).train


def network(model, weights="w.safetensors", new_head=(), factory="net.py:build"):
    settings = ModelSettings(factory=factory, weights=weights)
    return Network(settings, Start(model, new_head=new_head), SIDE)


@pytest.mark.parametrize("ways", [IMAGENET, HALVES])
def test_the_way_by_which_a_trained_network_is_right_is_found(files, ways):
    found = choose_preprocessing(network(Level(*ways)), files, SIDE)
    assert (found.mean, found.std) == ways
    assert "100%" in found.why


def test_a_network_from_scratch_takes_the_datas_own_numbers(files):
    found = choose_preprocessing(network(nn.Identity(), weights=None), files, SIDE)
    assert (found.resize, found.mean, found.std) == ("stretch", None, None)


def test_a_new_head_on_a_librarys_network_keeps_what_the_body_was_trained_with(files):
    new = network(nn.Identity(), new_head=("fc.weight",), factory="torchvision:resnet18")
    found = choose_preprocessing(new, files, SIDE)
    assert (found.resize, found.mean, found.std) == ("crop", *IMAGENET)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("net.py:build", ("stretch", None, None)),
        ("torchvision:resnet18", ("crop", *IMAGENET)),
    ],
)
def test_classes_in_another_order_measure_nothing_and_are_told(files, factory, expected):
    swapped = nn.Sequential(Level(*HALVES), Swapped())
    found = choose_preprocessing(network(swapped, factory=factory), files, SIDE)
    assert (found.resize, found.mean, found.std) == expected
    assert "what is usual" in found.why
    (notice,) = found.notices
    assert "the commonest class alone is 50% of them" in notice
    assert "write data.classes in its order" in notice


class Swapped(nn.Module):
    """Names the classes the other way round."""

    def forward(self, outputs):
        return outputs[:, [1, 0, 2]]


def test_pictures_of_which_none_can_be_read_are_told_with_the_first(tmp_path):
    for name in ("dark", "white"):
        (tmp_path / name).mkdir()
        for number in range(2):
            pixels = np.full((9, 9), 40_000 + number, dtype=np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    deep = list_images(tmp_path).train
    with pytest.raises(DataError, match=r"None of 2 .*\d\.png has more than 8 bits") as told:
        choose_preprocessing(network(Level(*IMAGENET)), deep, SIDE)
    assert "\n" not in str(told.value)


def test_a_broken_file_does_not_end_the_look(files, monkeypatch):
    files[0].path.write_bytes(b"broken")
    monkeypatch.setattr(preprocessing, "SAMPLE", 100)
    found = choose_preprocessing(network(Level(*IMAGENET)), files, SIDE)
    assert (found.mean, found.std) == IMAGENET

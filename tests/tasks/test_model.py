import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compressor.errors import MissingExtra, ModelError
from compressor.tasks import model as model_module
from compressor.tasks.model import ModelSettings, build_model, find_file

FILE = """
from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass
class Sizes:
    inputs: int
    outputs: int


def small(num_classes, in_channels, bias=True):
    sizes = Sizes(in_channels, num_classes)
    return nn.Conv2d(sizes.inputs, sizes.outputs, 1, bias=bias)


def narrow(num_classes):
    return nn.Linear(3, num_classes)


def everything(**settings):
    return nn.Linear(len(settings), settings["num_classes"])


def number(num_classes):
    return num_classes


def refuses(num_classes):
    raise ValueError("widths must rise")


constant = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(FILE)
    return tmp_path


def build(folder, factory, **settings):
    return build_model(ModelSettings(factory=factory, **settings), 5, 2, (folder,))


def refused(error=ModelError):
    return pytest.raises(error)


def one_line(told, *parts):
    text = str(told.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


# --- factories ---


def test_a_factory_in_a_file_gets_what_the_data_says(folder):
    model = build(folder, "nets.py:small", arguments={"bias": False})
    assert model.weight.shape == (5, 2, 1, 1)
    assert model.bias is None


def test_a_factory_gets_only_the_arguments_it_knows(folder):
    assert build(folder, "nets.py:narrow").weight.shape == (5, 3)


def test_a_factory_that_takes_anything_gets_the_number_of_classes(folder):
    assert build(folder, "nets.py:everything").weight.shape == (5, 1)


def test_arguments_of_the_recipe_win_over_those_of_the_data(folder):
    assert build(folder, "nets.py:small", arguments={"num_classes": 7}).weight.shape[0] == 7


def test_the_first_folder_that_has_the_file_is_taken(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "nets.py").write_text("from torch import nn\ndef narrow(): return nn.Identity()")
    settings = ModelSettings(factory="nets.py:narrow")
    assert isinstance(build_model(settings, 5, 2, (other, folder)), nn.Identity)
    assert isinstance(build_model(settings, 5, 2, (folder, other)), nn.Linear)


def test_weights_are_drawn_from_the_global_generator(folder):
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(build(folder, "nets.py:small").weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_torchvision_is_known_by_name(folder):
    model = build(folder, "torchvision:squeezenet1_1")
    assert model.classifier[1].out_channels == 5


@pytest.mark.parametrize(
    ("factory", "parts"),
    [
        ("resnet18", ["model.factory is 'resnet18'", "torchvision:NAME"]),
        ("keras:resnet18", ["model.factory is 'keras:resnet18'"]),
        ("torchvision:resnet19", ["torchvision has no model 'resnet19'"]),
        ("torchvision:fcn_resnet50", ["torchvision has no model 'fcn_resnet50'"]),
        ("none.py:small", ["none.py: there is no such file", "Looked for"]),
        ("nets.py:big", ["nets.py has no function 'big'"]),
        ("nets.py:constant", ["has no function 'constant'"]),
        ("nets.py:number", ["nets.py:number gave a int, not a torch.nn.Module"]),
        ("nets.py:refuses", ["cannot be built with", "widths must rise"]),
    ],
)
def test_a_factory_that_does_not_give_a_network_is_one_line(folder, factory, parts):
    with refused() as told:
        build(folder, factory)
    one_line(told, *parts)


def test_an_unknown_argument_is_one_line(folder):
    with refused() as told:
        build(folder, "nets.py:small", arguments={"depth": 3})
    one_line(told, "nets.py:small cannot be built", "depth", "Mend model.arguments")


@pytest.mark.parametrize("text", ["import no_such_package", "def broken(:", "x = y"])
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, text):
    (tmp_path / "nets.py").write_text(text)
    with refused() as told:
        build(tmp_path, "nets.py:small")
    one_line(told, "nets.py cannot be imported")


def test_timm_that_is_not_installed_is_named_with_its_command(folder, monkeypatch):
    monkeypatch.setattr(model_module.importlib.util, "find_spec", lambda _name: None)
    with refused(MissingExtra) as told:
        build(folder, "timm:resnet18")
    one_line(told, "timm:resnet18 needs timm", "pip install timm")


@pytest.fixture
def fake_timm(monkeypatch):
    timm = types.ModuleType("timm")
    timm.__spec__ = types.SimpleNamespace()
    timm.is_model = lambda name: name == "known"
    timm.list_models = lambda: ["known"]
    timm.create_model = lambda _name, num_classes, in_chans: nn.Conv2d(in_chans, num_classes, 1)
    monkeypatch.setitem(sys.modules, "timm", timm)


def test_timm_gets_classes_and_channels_under_its_own_names(folder, fake_timm):
    assert build(folder, "timm:known").weight.shape == (5, 2, 1, 1)


def test_a_name_that_timm_does_not_know_is_one_line(folder, fake_timm):
    with refused() as told:
        build(folder, "timm:unknown")
    one_line(told, "timm has no model 'unknown'. Did you mean known?")


# --- weights ---


def test_a_network_is_built_with_the_weights_of_its_recipe(folder):
    torch.manual_seed(0)
    save_file({"weight": torch.full((5, 3), 2.0), "bias": torch.zeros(5)}, folder / "w.safetensors")
    model = build(folder, "nets.py:narrow", weights=str(folder / "w.safetensors"))
    assert (model.weight == 2.0).all()


def test_what_had_to_be_done_to_weights_is_told(folder):
    state = {"module.weight": torch.full((5, 3), 2.0), "module.bias": torch.zeros(5)}
    save_file(state, folder / "w.safetensors")
    told = []
    settings = ModelSettings(factory="nets.py:narrow", weights=str(folder / "w.safetensors"))
    model = build_model(settings, 5, 2, (folder,), told.append)
    assert (model.weight == 2.0).all()
    assert told == [f"{folder / 'w.safetensors'}: took 'module.' off all 2 names."]


def test_weights_are_looked_for_beside_the_recipe_first(tmp_path):
    beside, elsewhere = tmp_path / "recipes", tmp_path / "other"
    for folder in (beside, elsewhere):
        folder.mkdir()
        (folder / "w.safetensors").touch()
    assert find_file("w.safetensors", (beside, elsewhere)) == beside / "w.safetensors"
    assert find_file("gone.safetensors", (beside,)) == Path("gone.safetensors")

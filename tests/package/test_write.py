import json
import shutil
import zipfile
from dataclasses import replace

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

from compressor import package
from compressor.errors import CheckError, ExportError, ModelError
from compressor.files import read_json
from compressor.package.page import page
from compressor.package.program import load_program, save_program
from compressor.package.write import (
    Contents,
    Records,
    packed_model,
    packed_recipe,
    write_package,
)
from compressor.recipe import shipped
from compressor.strip.plan import StripPlan
from compressor.tasks.model import ModelSettings

LIBRARY = ModelSettings(factory="torchvision:resnet18", weights="start.pth")


class Own(torch.Tensor):
    """A tensor of a class of its own."""

    def __deepcopy__(self, _memo):
        return self


@pytest.fixture
def contents(packed):
    """What made the package of the digits."""
    found = package.read(packed)
    return Contents(
        description=found.description,
        module=found.module,
        plan=StripPlan.from_json(read_json(packed / "plan.json")),
        architecture=packed / "architecture" / "residual.py",
        samples=load_file(packed / "samples.safetensors")["inputs"],
        onnx=packed / "model.onnx",
        records=Records(
            certificate=read_json(packed / "certificate.json"),
            recipe=read_json(packed / "recipe.json"),
            environment=read_json(packed / "environment.json"),
        ),
    )


def test_a_network_whose_file_needs_another_one_is_refused_by_name(contents, tmp_path, monkeypatch):
    shutil.copy(contents.architecture, tmp_path / "blocks.py")
    (tmp_path / "net.py").write_text("from blocks import residual_net\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = contents.description.model.model_copy(
        update={"factory": "architecture/net.py:residual_net"}
    )
    needy = replace(
        contents,
        architecture=tmp_path / "net.py",
        description=contents.description.model_copy(update={"model": model}),
    )
    with pytest.raises(ModelError, match=r"No module named 'blocks'.*Only net\.py is packed"):
        write_package(tmp_path / "out", needy)
    assert not (tmp_path / "out").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocks.py", "net.py"]


def test_a_network_that_is_not_the_onnx_file_is_not_packed(contents, tmp_path):
    other = shutil.copy(contents.onnx.parent.parent / "export" / "dense.onnx", tmp_path)
    with pytest.raises(CheckError, match="ONNX file against network, samples is"):
        write_package(tmp_path / "out", replace(contents, onnx=tmp_path / other))
    assert not (tmp_path / "out").exists()


def test_recipe_and_records_are_those_of_the_run(packed):
    run = packed.parent
    assert read_json(packed / "recipe.json") == packed_recipe(read_json(run / "settings.json"))
    for name in ("certificate.json", "plan.json"):
        assert read_json(packed / name) == read_json(run / "strip" / name)
    assert read_json(packed / "environment.json") == read_json(run / "environment.json")
    assert (packed / "model.onnx").read_bytes() == (run / "export" / "model.onnx").read_bytes()
    factory = (shipped("models") / "residual.py").read_text()
    assert (packed / "architecture" / "residual.py").read_text() == factory


def test_a_packed_recipe_names_files_and_no_folders():
    recipe = {
        "data": {"source": "image-folder", "path": "/home/me/acme/photos"},
        "model": {"factory": "/home/me/acme/net.py:build", "weights": "../acme/best.pth"},
        "tensorrt": {"timing_cache": None},
    }
    packed = packed_recipe(recipe)
    assert packed["data"] == {"source": "image-folder", "path": "photos"}
    assert packed["model"] == {"factory": "net.py:build", "weights": "best.pth"}
    assert packed["tensorrt"] == {"timing_cache": None}
    assert recipe["data"]["path"] == "/home/me/acme/photos"


def test_everybody_may_read_a_package_that_may_read_its_folder(packed):
    modes = {path.stat().st_mode & 0o777 for path in packed.rglob("*") if path.is_file()}
    assert modes == {(packed / "model.onnx").stat().st_mode & 0o777}
    assert len(modes) == 1


def test_a_network_of_a_library_brings_no_file_and_no_other_weights():
    settings, file = packed_model(LIBRARY, ())
    assert (settings.factory, settings.weights, file) == ("torchvision:resnet18", None, None)


def test_a_network_of_a_file_is_named_by_its_place_in_the_package(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mine.py").touch()
    settings, file = packed_model(ModelSettings(factory="nets/mine.py:net"), (tmp_path,))
    assert settings.factory == "architecture/mine.py:net"
    assert file == tmp_path / "nets" / "mine.py"


def test_the_page_says_what_is_executed_only_where_something_is(contents):
    own = page(contents.description, 8)
    library = page(contents.description.model_copy(update={"model": LIBRARY}), 8)
    assert "execute `architecture/residual.py`" in own
    assert "execute" not in library
    assert "not malice" in own
    assert "not malice" in library


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"stretched": True}, "stretched to this one first"),
        ({"stretched": True, "resize": "stretch"}, "stretched to this one first"),
        ({"resize": "crop"}, "scaled by their shorter side, of which the middle is taken, first"),
    ],
)
def test_the_page_tells_how_pictures_were_resized(contents, update, told):
    preprocessing = contents.description.preprocessing.model_copy(update=update)
    resized = page(contents.description.model_copy(update={"preprocessing": preprocessing}), 8)
    assert told in resized
    assert ("preprocessing.read(" in resized) is ("resize" in update)
    assert "pictures of other sizes" not in page(contents.description, 8)


class TestProgram:
    """The ``torch.export`` program."""

    def test_it_equals_the_network_for_any_number_of_images(self, packed, contents):
        program = load_program(packed / "model.pt2")
        for num_images in (1, 2, 7):
            images = torch.randn(num_images, 1, 8, 8)
            assert torch.allclose(program(images), contents.module(images), atol=1e-5)

    def test_it_holds_no_folder_of_this_machine(self, packed):
        with zipfile.ZipFile(packed / "model.pt2") as archive:
            names = archive.namelist()
            text = archive.read(next(n for n in names if n.endswith("models/model.json"))).decode()
        assert json.loads(text)
        assert "residual.py" not in text
        assert "site-packages" not in text

    def test_the_same_network_gives_the_same_bytes(self, packed, contents, tmp_path):
        save_program(contents.module, (1, 8, 8), tmp_path / "model.pt2")
        assert (tmp_path / "model.pt2").read_bytes() == (packed / "model.pt2").read_bytes()

    def test_a_network_that_cannot_be_traced_is_one_line(self, tmp_path):
        class Choosy(nn.Module):
            def forward(self, images):
                return images if images.sum() > 0 else -images

        with pytest.raises(ExportError, match="Choosy cannot be exported by torch.export"):
            save_program(Choosy(), (1, 8, 8), tmp_path / "model.pt2")
        assert list(tmp_path.iterdir()) == []

    def test_a_network_of_foreign_operators_is_refused_when_it_is_packed(self, tmp_path):
        class Looker(nn.Module):
            def forward(self, images):
                return torchvision.ops.roi_align(images, images.flatten(1)[:, :5], 2)

        with pytest.raises(ExportError, match="Looker needs 'torch.ops.torchvision.roi_align"):
            save_program(Looker(), (1, 8, 8), tmp_path / "model.pt2")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("mixing", "told"),
        [
            (torch.eye(8).as_subclass(Own), r"only pickle \(model\.pt2:model/data/weights/.*json"),
            (torch.eye(8).to_sparse(), "Cannot access storage of SparseTensorImpl"),
        ],
    )
    def test_what_is_no_plain_tensor_is_refused_and_not_pickled(self, tmp_path, mixing, told):
        class Mixer(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("mixing", mixing)

            def forward(self, images):
                return images.flatten(1)[:, :8] @ self.mixing.to_dense()

        with pytest.raises(ExportError, match=f"Mixer.*{told}"):
            save_program(Mixer(), (1, 8, 8), tmp_path / "model.pt2")
        assert list(tmp_path.iterdir()) == []

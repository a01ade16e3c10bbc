import numpy as np
import pytest
import torch
from PIL import Image

from compressor.data.pictures import Form, decode
from compressor.errors import DataError, ModelError
from compressor.package.description import Preprocessing


def preprocessing(**more):
    shape = {"image_shape": (3, 8, 8), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    return Preprocessing(**{**shape, "stretched": False, "resize": "crop", **more})


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 12, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_picture_is_read_as_it_was_in_training(picture):
    found = preprocessing().read(picture, str(picture))
    pixels = torch.from_numpy(decode(picture, Form(8, "crop")))
    assert found.shape == (2, 3, 8, 8)
    assert torch.equal(found[1], preprocessing().inputs(pixels[None])[0])


def test_the_rule_of_the_recipe_counts(picture):
    stretched = preprocessing(resize="stretch").read(picture)
    assert not torch.equal(stretched, preprocessing().read(picture))


def test_a_network_of_arrays_reads_no_pictures(picture):
    with pytest.raises(ModelError, match="trained on arrays"):
        preprocessing(resize=None).read(picture)


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(DataError, match="b.png cannot be read"):
        preprocessing().read(tmp_path / "b.png")


def test_packages_of_before_have_no_rule():
    shape = {"image_shape": [1, 8, 8], "mean": [0.5], "std": [0.2], "stretched": False}
    assert Preprocessing.model_validate(shape, strict=False).resize is None

"""Folders of pictures in a dry run: small ones whole, large ones by some of each class."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.data.catalog import DataSettings
from compressor.dry_run import data
from compressor.dry_run.data import dry_data
from compressor.errors import DataError


def pictures(folder, classes, each):
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")


def settings(folder, **more):
    return DataSettings(source="image-folder", path=str(folder), image_size=8, **more)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder that counts as large, with test pictures of its own."""
    monkeypatch.setattr(data, "MANY", 20)
    monkeypatch.setattr(data, "SAMPLE", 8)
    pictures(tmp_path / "photos" / "train", "ab", 20)
    pictures(tmp_path / "photos" / "val", "ab", 10)
    return tmp_path / "photos"


def test_a_small_folder_is_read_whole(tmp_path):
    pictures(tmp_path / "photos", "ab", 10)
    read = dry_data(settings(tmp_path / "photos"), tmp_path / "data", 0)
    assert read.is_whole
    assert len(read.images.train) + len(read.images.validation) + len(read.images.test) == 20


def test_of_a_large_folder_some_of_each_class_are_read(large, tmp_path):
    read = dry_data(settings(large), tmp_path / "data", 0)
    images = read.images
    assert not read.is_whole
    assert read.told.startswith("60 pictures listed, 16 of them read; ")
    assert (len(images.train) + len(images.validation), len(images.test)) == (8, 8)
    assert set(images.train.labels) == set(images.test.labels) == {0, 1}
    assert images.classes == ("a", "b")
    assert not (tmp_path / "data").exists()


def test_a_large_folder_without_test_pictures_has_some_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MANY", 20)
    monkeypatch.setattr(data, "SAMPLE", 10)
    pictures(tmp_path / "photos", "abc", 20)
    read = dry_data(settings(tmp_path / "photos"), tmp_path / "data", 0)
    assert len(read.images.test) >= 3
    assert set(read.images.train.labels) == {0, 1, 2}


def test_more_training_images_than_a_sample_has_may_be_asked_for(large, tmp_path):
    read = dry_data(settings(large, train_images=30), tmp_path / "data", 0)
    assert not read.is_whole


def test_a_broken_picture_of_a_large_folder_is_named_where_it_lies(large, tmp_path):
    broken = large / "train" / "a" / "000.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        dry_data(settings(large), tmp_path / "data", 0)
    assert str(broken) in str(caught.value)


@pytest.mark.parametrize("path", ["..", "."])
def test_a_folder_that_has_no_name_of_its_own_is_linked_in_the_temporary_folder(
    large, tmp_path, monkeypatch, path
):
    (large / "below").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(large / "below" if path == ".." else large)
    made = []
    monkeypatch.setattr(Path, "symlink_to", noting(made, Path.symlink_to))
    read = dry_data(settings(path), tmp_path / "data", 0)
    assert read.told.startswith("60 pictures listed, 16 of them read; ")
    assert len(made) == 16
    # Above the folder of links is the temporary one, and above that the one for all such.
    assert all((tmp_path / "temporary") in link.resolve().parents[2].parents for link in made)
    assert list((tmp_path / "temporary").iterdir()) == []


def noting(made, symlink_to):
    """``symlink_to`` that notes where links are made, with ``..`` in the way to them resolved."""

    def link(self, target):
        made.append(self.parent.resolve() / self.name)
        return symlink_to(self, target)

    return link


def test_other_sources_are_read_as_a_run_reads_them(tmp_path):
    read = dry_data(DataSettings(source="digits"), tmp_path, 0)
    assert read.is_whole
    assert read.told.startswith("digits: 1,295 training")

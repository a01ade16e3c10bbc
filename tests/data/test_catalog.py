import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from compressor.data.catalog import SOURCES, DataSettings, data_root, get_data, load_data
from compressor.data.source import TrainTest
from compressor.data.store import StoredSource, fingerprint
from compressor.errors import DataError, RecipeError

DIGITS = DataSettings(source="digits")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_data(DIGITS, tmp_path_factory.mktemp("data"), seed=0)


def rows(split):
    return sorted(map(tuple, split.images.reshape(len(split), -1).tolist()))


@pytest.fixture
def own(tmp_path, make_split):
    """Images that are all different, in an .npz file."""
    whole = make_split(60)
    np.savez(tmp_path / "own.npz", images=whole.images, labels=whole.labels)
    return DataSettings(source="npz", path=str(tmp_path / "own.npz"))


def test_the_catalog_lists_each_source_under_its_name():
    names = [
        "digits",
        "mnist-5k",
        "mnist",
        "fashion-mnist",
        "cifar10",
        "image-folder",
        "npz",
        "idx",
    ]
    assert list(SOURCES) == names
    assert [source.name for source in SOURCES.values()] == names


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_each_source_says_what_it_is_in_one_line(source):
    for text in (source.description, source.licence, source.size_note):
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("name", ["mnist-5k", "mnist", "fashion-mnist", "cifar10"])
def test_what_is_not_fetched_says_how_to_get_it(name, tmp_path):
    with pytest.raises(DataError, match=f"run `compressor data get {name}`"):
        load_data(DataSettings(source=name), tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [n for n, s in SOURCES.items() if isinstance(s, StoredSource)])
def test_each_stored_source_has_a_way_and_a_whole_hash(name):
    source = SOURCES[name]
    assert source.routes
    assert len(bytes.fromhex(source.sha256)) == 32
    assert len(source.classes) == 10


def test_validation_images_come_out_of_the_training_images(digits, tmp_path):
    raw = SOURCES["digits"].load(tmp_path)
    assert sorted([*rows(digits.train), *rows(digits.validation)]) == rows(raw.train)
    np.testing.assert_array_equal(digits.test.images, raw.test.images)
    assert (digits.name, digits.num_classes, digits.image_shape) == ("digits", 10, (1, 8, 8))


def test_validation_takes_its_share_of_each_class(digits):
    held, stayed = np.bincount(digits.validation.labels), np.bincount(digits.train.labels)
    assert held / (held + stayed) == pytest.approx(np.full(10, 0.1), abs=0.005)


def test_the_same_seed_gives_the_same_images(digits, tmp_path):
    again = load_data(DIGITS, tmp_path, seed=0)
    np.testing.assert_array_equal(again.train.images, digits.train.images)
    np.testing.assert_array_equal(again.validation.labels, digits.validation.labels)


def test_another_seed_changes_training_but_never_the_test(digits, tmp_path):
    other = load_data(DIGITS, tmp_path, seed=1)
    assert rows(other.validation) != rows(digits.validation)
    np.testing.assert_array_equal(other.test.images, digits.test.images)


def test_fewer_training_images_are_the_first_and_leave_validation_alone(digits, tmp_path):
    fewer = load_data(DataSettings(source="digits", train_images=50), tmp_path, seed=0)
    np.testing.assert_array_equal(fewer.train.images, digits.train.images[:50])
    np.testing.assert_array_equal(fewer.train.labels, digits.train.labels[:50])
    np.testing.assert_array_equal(fewer.validation.images, digits.validation.images)
    assert fewer.mean == digits.mean


def test_more_training_images_than_there_are_is_refused_with_both_numbers(own, tmp_path):
    wanted = own.model_copy(update={"train_images": 1000})
    with pytest.raises(DataError, match="train_images is 1000, but npz has 42 .* 6 for validation"):
        load_data(wanted, tmp_path, seed=0)


def test_a_single_image_per_class_cannot_be_held_out(tmp_path, make_split):
    split = make_split(3)
    np.savez(tmp_path / "x.npz", train_images=split.images, train_labels=split.labels,
             test_images=split.images, test_labels=split.labels)  # fmt: skip
    with pytest.raises(DataError, match="one training image per class"):
        load_data(DataSettings(source="npz", path=str(tmp_path / "x.npz")), tmp_path, seed=0)


def test_a_path_may_be_relative_to_the_current_folder(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = load_data(DataSettings(source="npz", path="own.npz"), tmp_path, seed=0)
    np.testing.assert_array_equal(relative.train.images, load_data(own, tmp_path, 0).train.images)


def test_idx_files_load_from_their_path(idx_folder, tmp_path):
    data = load_data(DataSettings(source="idx", path=str(idx_folder)), tmp_path, seed=0)
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 3, 6)


def test_an_image_folder_keeps_its_decoded_images_below_the_data_folder(tmp_path):
    from PIL import Image

    for number in range(8):
        path = tmp_path / "own" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(number).save(path)
    settings = DataSettings(source="image-folder", path=str(tmp_path / "own"), image_size=16)
    data = load_data(settings, tmp_path / "root", seed=0)
    assert data.image_shape == (3, 16, 16)
    assert len(list((tmp_path / "root" / "image-folder").iterdir())) == 1
    assert data.test.images.flags.writeable


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"source": "fashion_mnist"},
            "no data source 'fashion_mnist': did you mean 'fashion-mnist'",
        ),
        ({"source": "zzz"}, "no data source 'zzz': choose from digits, mnist-5k"),
        ({"source": "npz"}, "path is not set: npz needs"),
        ({"source": "mnist", "path": "x"}, "path is 'x', but mnist has a place of its own"),
        ({"source": "image-folder", "path": "x"}, "image_size is not set: image-folder needs it"),
        ({"source": "mnist", "image_size": 32}, "image_size is 32, but only image-folder resizes"),
        ({"source": "digits", "validation_share": 0.0}, "greater than 0"),
        ({"source": "digits", "validation_share": 0.6}, "less than or equal to 0.5"),
        ({"source": "digits", "train_images": 0}, "greater than or equal to 1"),
        ({"source": "digits", "shuffle": True}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        DataSettings(**settings)


def test_each_setting_is_documented():
    assert all(field.description for field in DataSettings.model_fields.values())


def test_settings_survive_json(own):
    assert DataSettings.model_validate_json(own.model_dump_json()) == own


def test_get_passes_the_folder_of_the_source(tmp_path, console, said):
    get_data("digits", tmp_path, console)
    assert said.getvalue().startswith("digits: ")


def test_get_refuses_an_unknown_name_with_the_nearest(tmp_path, console):
    with pytest.raises(RecipeError, match="no data source 'cifar-10': did you mean 'cifar10'"):
        get_data("cifar-10", tmp_path, console)


def test_the_data_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPRESSOR_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("COMPRESSOR_DATA", "")
    assert data_root() == Path.home() / ".cache" / "compressor" / "data"


def test_the_catalog_imports_none_of_the_heavy_libraries():
    code = (
        "import sys, compressor.data.catalog; "
        "sys.exit(' '.join({'torch', 'torchvision', 'sklearn'} & set(sys.modules)) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_digits_of_this_release_are_fixed(tmp_path):
    raw = SOURCES["digits"].load(tmp_path)
    digest = "8987e62da6d9f35d79531719c51f22558ee127ab296d1954f94587569b0bda49"
    assert fingerprint(TrainTest(raw.train, raw.test)) == digest

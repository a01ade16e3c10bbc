"""Folders that nobody prepared: what cannot be read is refused or left out, never silently."""

import numpy as np
import pytest
from PIL import Image

from compressor.data import pictures as pictures_module
from compressor.data.catalog import DataSettings, load_data
from compressor.data.folder import MAX_NAMED, ImageFolder, strangers
from compressor.data.pictures import Form, Unreadable, decode, decoded
from compressor.errors import DataError

SIZE = 8


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    generator = np.random.default_rng(0)
    for name, level in (("cat", 60), ("dog", 160)):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = level + generator.integers(0, 60, (9, 11, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def load(pictures, cache, broken="leave-out", resize="stretch"):
    return ImageFolder(SIZE, cache, resize, broken).load(pictures)


def test_broken_files_are_left_out_and_named(pictures, cache):
    whole = load(pictures, cache)
    for name in ("cat/3.png", "dog/7.png"):
        (pictures / name).write_bytes(b"no picture")
    raw = load(pictures, cache)
    assert len(raw.train) + len(raw.test) == len(whole.train) + len(whole.test) - 2
    assert (raw.train.images.max(axis=(1, 2, 3)) >= 120).tolist() == (
        raw.train.labels == 1
    ).tolist()
    assert len(raw.notices) == 1
    assert raw.notices[0].startswith("2 files left out that cannot be used: ")
    assert "3.png cannot be read" in raw.notices[0]
    assert "7.png cannot be read" in raw.notices[0]


def test_what_was_left_out_is_told_again_from_the_cache(pictures, cache):
    (pictures / "cat" / "3.png").write_bytes(b"no picture")
    first, again = load(pictures, cache), load(pictures, cache)
    assert first.notices == again.notices != ()
    np.testing.assert_array_equal(first.train.images, again.train.images)
    np.testing.assert_array_equal(first.train.labels, again.train.labels)


def test_a_cache_without_them_does_not_serve_a_recipe_that_refuses(pictures, cache):
    (pictures / "cat" / "3.png").write_bytes(b"no picture")
    load(pictures, cache)
    with pytest.raises(Unreadable, match=r'3\.png cannot .*data.broken = "leave-out"'):
        load(pictures, cache, broken="refuse")


def test_what_can_be_read_by_now_is_there_again_where_nothing_may_be_left_out(
    pictures, cache, monkeypatch
):
    def without_plugin(path, form):
        if path.name == "3.png":
            raise Unreadable(path, "cannot be read as an image")
        return decode(path, form)

    with monkeypatch.context() as patch:
        patch.setattr(pictures_module, "decode", without_plugin)
        assert len(load(pictures, cache).notices) == 1
    for broken in ("refuse", "leave-out"):
        raw = load(pictures, cache, broken)
        assert (len(raw.train) + len(raw.test), raw.notices) == (20, ())


def test_a_large_picture_is_read_without_a_warning(pictures, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert decode(pictures / "cat" / "0.png", Form(SIZE)).shape == (3, SIZE, SIZE)


def test_a_broken_file_moves_no_other_between_training_and_test(pictures, cache):
    test = load(pictures, cache).test.images
    (pictures / "cat" / "3.png").write_bytes(b"no picture")
    left = load(pictures, cache).test.images
    assert all(any((image == other).all() for other in test) for image in left)
    assert len(left) >= len(test) - 1


def test_a_class_of_which_nothing_can_be_read_is_named(pictures, cache):
    for path in (pictures / "dog").iterdir():
        path.write_bytes(b"no picture")
    (pictures / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"class 'dog' can be read, for example: .*dog.\d\.png"):
        load(pictures, cache)


def test_no_readable_file_at_all_is_refused(pictures, cache):
    files = sorted(pictures.rglob("*.png"))
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="None of 20 pictures can be read"):
        decoded(files, Form(SIZE), "leave-out", cache)


def test_a_notice_names_some_files_and_counts_the_others(pictures, cache):
    for number in range(MAX_NAMED + 2):
        (pictures / "cat" / f"{number}.png").write_bytes(b"")
    (notice,) = load(pictures, cache).notices
    assert notice.count("cannot be read") == MAX_NAMED
    assert notice.endswith("and 2 more.")


def test_other_files_and_pictures_outside_of_classes_are_told(pictures):
    (pictures / "cat" / "a.HEIC").write_bytes(b"x")
    (pictures / "readme").write_text("x")
    (pictures / "cat" / ".DS_Store").write_bytes(b"x")
    Image.new("RGB", (3, 3)).save(pictures / "loose.png")
    (notice,) = strangers(pictures)
    assert "1 .heic" in notice
    assert "1 no suffix" in notice
    assert "1 pictures that lie in no class folder" in notice
    assert "DS_Store" not in notice


def test_folders_that_archives_leave_are_no_class(pictures, cache):
    for name in ("__MACOSX", "@eaDir", ".git"):
        (pictures / name).mkdir()
    assert load(pictures, cache).classes == ("cat", "dog")


def test_transparent_parts_are_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 2, 4))
    image.save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png", Form(4))
    assert pixels[:, 0, 3].tolist() == [255, 255, 255]
    assert pixels[:, 0, 0].tolist() == [200, 0, 0]


def test_a_crop_keeps_the_proportions_and_a_stretch_all(tmp_path):
    image = Image.new("L", (12, 4), 0)
    image.paste(255, (4, 0, 8, 4))
    image.save(tmp_path / "wide.png")
    assert decode(tmp_path / "wide.png", Form(4, "crop")).min() == 255
    assert decode(tmp_path / "wide.png", Form(4, "stretch"))[0, 0, 0] == 0


def test_another_resize_is_decoded_anew(pictures, cache):
    stretched = load(pictures, cache).train.images.copy()
    assert (load(pictures, cache, resize="crop").train.images != stretched).any()


def settings(pictures, **more):
    return DataSettings(source="image-folder", path=str(pictures), image_size=SIZE, **more)


def test_mean_and_deviation_of_a_recipe_win_over_those_of_the_pictures(pictures, tmp_path):
    given = settings(pictures, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    data = load_data(given, tmp_path, seed=0)
    assert (data.mean, data.std) == (given.mean, given.std)
    assert load_data(settings(pictures), tmp_path, seed=0).mean != given.mean


def test_a_wrong_number_of_means_is_refused(pictures, tmp_path):
    with pytest.raises(DataError, match="1 means and 1 deviations stand beside images of 3"):
        load_data(settings(pictures, mean=(0.1,), std=(0.4,)), tmp_path, seed=0)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mean": (0.1, 0.1, 0.1)}, "std is not set"),
        ({"std": (0.1, 0.1, 0.1)}, "mean is not set"),
        ({"mean": (0.1,), "std": (0.0,)}, "give numbers above 0"),
    ],
)
def test_half_a_normalisation_is_refused(pictures, more, told):
    with pytest.raises(ValueError, match=told):
        settings(pictures, **more)


def test_what_is_for_folders_alone_is_refused_elsewhere():
    with pytest.raises(ValueError, match="resize is for image-folder alone"):
        DataSettings(source="digits", resize="crop")


def test_settings_of_before_keep_their_spelling(pictures):
    dumped = settings(pictures).model_dump()
    assert not {"resize", "broken", "mean", "std"} & set(dumped)


def test_notices_reach_whoever_loads(pictures, tmp_path):
    (pictures / "cat" / "3.png").write_bytes(b"")
    data = load_data(settings(pictures, broken="leave-out"), tmp_path, seed=0)
    assert len(data.notices) == 1

import os

import numpy as np
import pytest
from PIL import Image

from compressor.data import pictures as pictures_module
from compressor.data.folder import ImageFolder, list_images
from compressor.data.pictures import Form, decode
from compressor.errors import DataError

SIZE = 8


def draw(path, value, *, mode="RGB", size=(10, 12)):
    """One image of a single grey value with a darker half, so that no channel is constant."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, value)
    image.paste(value // 2, (0, 0, size[0] // 2, size[1]))
    image.convert(mode).save(path)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for name, value in (("cat", 100), ("dog", 200)):
        for number in range(5):
            draw(folder / name / f"{number}.png", value + number)
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def source(cache):
    return ImageFolder(image_size=SIZE, cache=cache)


def test_class_folders_become_classes_and_a_fifth_the_test_set(source, pictures):
    raw = source.load(pictures)
    assert raw.classes == ("cat", "dog")
    assert raw.train.images.shape == (8, 3, SIZE, SIZE)
    assert raw.test.labels.tolist() == [0, 1]
    brightest = raw.train.images.max(axis=(1, 2, 3))
    assert ((brightest >= 200) == (raw.train.labels == 1)).all()


def test_the_cut_is_the_same_every_time(pictures):
    assert list_images(pictures) == list_images(pictures)


def test_train_and_test_folders_are_used_as_they_are(source, tmp_path):
    root = tmp_path / "root"
    for name in ("train", "val", "test"):
        draw(root / name / "cat" / "a.png", 50)
        draw(root / name / "dog" / f"{name}.png", 250)
    raw = source.load(root)
    assert raw.classes == ("cat", "dog")
    assert (len(raw.train), len(raw.test)) == (2, 2)
    assert list_images(root).test[1].path == root / "test" / "dog" / "test.png"


@pytest.mark.parametrize("test", ["val", "valid", "validation"])
def test_val_is_the_test_set_where_there_is_no_test(tmp_path, test):
    for name in ("train", test):
        draw(tmp_path / name / "cat" / "a.png", 50)
        draw(tmp_path / name / "dog" / "b.png", 50)
    listing = list_images(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert [file.path.parent.parent.name for file in listing.test] == [test, test]
    assert (listing.test_folder, listing.notices) == (test, ())


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("dev", "valid")])
def test_folders_that_are_parts_of_a_data_set_are_no_classes(tmp_path, names):
    for name in names:
        for kind in ("cat", "dog"):
            draw(tmp_path / name / kind / "a.png", 50)
    with pytest.raises(DataError, match="are parts of a data set and not classes: call them train"):
        list_images(tmp_path)


def test_folders_beside_those_of_training_and_test_are_told(tmp_path):
    for name in ("train", "test", "val", "extra"):
        for kind in ("cat", "dog"):
            draw(tmp_path / name / kind / "a.png", 50)
    (notice,) = list_images(tmp_path).notices
    assert notice == (
        f"Folders left out in {tmp_path}: extra, val. train holds the training images and test the "
        "test images."
    )


@pytest.mark.parametrize("name", [b"dog/caf\xe9.png", b"caf\xe9/a.png", b"dog/caf\xe9.txt"])
def test_a_name_that_is_not_utf_8_is_to_be_renamed(pictures, name):
    path = pictures / os.fsdecode(name)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((pictures / "dog" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this disk takes no such name")
    with pytest.raises(
        DataError, match=r"caf\\udce9.*: this name is not UTF-8\. Rename it"
    ) as told:
        list_images(pictures)
    str(told.value).encode()


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "plane"):
        draw(tmp_path / name / "a.png", 50)
        draw(tmp_path / name / "b.png", 50)
    listing = list_images(tmp_path)
    assert (listing.classes, listing.test_folder) == (("plane", "train"), None)


def test_images_in_deeper_folders_count_and_hidden_and_other_files_do_not(pictures):
    draw(pictures / "cat" / "more" / "deep.JPG", 10)
    (pictures / "cat" / "notes.txt").write_text("no image")
    (pictures / "cat" / ".hidden.png").write_bytes(b"")
    (pictures / ".git").mkdir()
    listing = list_images(pictures)
    names = {file.path.name for file in (*listing.train, *listing.test) if file.label == 0}
    assert names == {"0.png", "1.png", "2.png", "3.png", "4.png", "deep.JPG"}
    assert listing.classes == ("cat", "dog")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_8_bit_image_gives_three_channels(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    draw(path, 200, mode=mode)
    assert decode(path, Form(SIZE)).shape == (3, SIZE, SIZE)


def test_colours_stay_in_their_channels(tmp_path):
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", Form(2))[:, 0, 0].tolist() == [10, 20, 30]


def test_a_picture_taken_sideways_is_turned_upright(tmp_path):
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the stored picture
    image.save(tmp_path / "a.png", exif=exif)
    upright = decode(tmp_path / "a.png", Form(8))[0]
    assert upright[:, 7].tolist() == [255] * 8
    assert upright[:, 0].tolist() == [0] * 8


def test_an_image_of_16_bits_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="deep.png has more than 8 bits per channel"):
        decode(tmp_path / "deep.png", Form(SIZE))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_an_unreadable_image_is_named_and_leaves_no_cache(source, pictures, cache, content):
    (pictures / "dog" / "3.png").write_bytes(content)
    with pytest.raises(DataError, match=r"dog.3\.png cannot be read as an image") as refused:
        source.load(pictures)
    assert "\n" not in str(refused.value)
    assert not list(cache.iterdir())


def test_a_cut_image_is_refused(source, pictures):
    path = pictures / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cat.1\.png cannot be read"):
        source.load(pictures)


def test_one_class_is_too_few(source, tmp_path):
    draw(tmp_path / "one" / "cat" / "a.png", 1)
    with pytest.raises(DataError, match="class folders in .*one is 1: give two or more"):
        source.load(tmp_path / "one")


def test_an_empty_class_is_named(source, pictures):
    (pictures / "owl").mkdir()
    with pytest.raises(DataError, match="owl holds no image"):
        source.load(pictures)


def test_one_image_per_class_leaves_none_for_the_test(source, tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / name / "a.png", 1)
    with pytest.raises(DataError, match="one image each"):
        source.load(tmp_path)


def test_a_class_in_only_one_of_train_and_test_is_named(tmp_path):
    for name in ("train/cat", "train/dog", "test/cat", "test/owl"):
        draw(tmp_path / name / "a.png", 1)
    with pytest.raises(DataError, match="The class 'dog' is in only one of"):
        list_images(tmp_path)


def test_a_path_that_is_no_folder_is_refused(source, tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder: set `path`"):
        source.load(tmp_path / "nowhere")


def test_without_a_size_nothing_is_decoded(pictures, cache):
    with pytest.raises(DataError, match="needs `image_size`"):
        ImageFolder(cache=cache).load(pictures)


def test_own_data_cannot_be_fetched(source, tmp_path, console):
    with pytest.raises(DataError, match="image-folder is data of your own"):
        source.get(tmp_path, console)


def test_images_are_decoded_once(source, pictures, monkeypatch):
    first = source.load(pictures)
    monkeypatch.delattr(pictures_module, "decode")
    again = source.load(pictures)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert isinstance(again.train.images, np.memmap)


def test_a_changed_image_is_decoded_anew(source, pictures):
    before = source.load(pictures)
    changed = list_images(pictures).train[0].path
    draw(changed, 7)
    os.utime(changed, ns=(1, 1))
    after = source.load(pictures)
    assert before.train.images[0].max() > 50
    assert after.train.images[0].max() == 7


def test_another_size_is_decoded_anew(source, pictures, cache):
    source.load(pictures)
    assert ImageFolder(4, cache).load(pictures).train.images.shape[2:] == (4, 4)
    assert source.load(pictures).train.images.shape[2:] == (SIZE, SIZE)


def test_writing_to_the_images_leaves_the_cache_alone(source, pictures):
    first = source.load(pictures).test.images
    original = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(source.load(pictures).test.images, original)


def test_a_cut_cache_is_refused_with_what_to_do(source, pictures, cache):
    source.load(pictures)
    stored = next(cache.iterdir())
    stored.write_bytes(stored.read_bytes()[:200])
    with pytest.raises(DataError, match=r"\.npy is broken .*delete it"):
        source.load(pictures)

import io

import numpy as np
import pytest

from compressor.data.arrays import IdxFolder, Npz, read_npz, to_images, to_labels
from compressor.errors import DataError

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (20, 6, 5), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (20, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(20) % 2


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        path = tmp_path / "own.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_grey_images_get_a_channel():
    np.testing.assert_array_equal(to_images(GREY, "x"), GREY[:, None])


def test_channels_second_stay_as_they_are():
    np.testing.assert_array_equal(to_images(COLOUR, "x"), COLOUR)


def test_channels_last_are_moved():
    images = to_images(np.moveaxis(COLOUR, 1, 3), "x")
    np.testing.assert_array_equal(images, COLOUR)
    assert images.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_pixels_that_are_not_uint8_are_refused_with_what_to_do(dtype):
    with pytest.raises(DataError, match=rf"x are {np.dtype(dtype)}.*astype\('uint8'\)"):
        to_images(GREY.astype(dtype), "x")


@pytest.mark.parametrize("shape", [(20, 30), (20, 7, 6, 5), (2, 3, 4, 5, 6)])
def test_shapes_that_are_not_images_are_refused(shape):
    with pytest.raises(DataError, match="x have shape .*channels"):
        to_images(np.zeros(shape, dtype=np.uint8), "x")


@pytest.mark.parametrize("labels", [LABELS.astype(np.uint8), LABELS[:, None]])
def test_small_integers_and_columns_become_labels(labels):
    read = to_labels(labels, "x")
    assert read.dtype == np.int64
    assert read.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("labels", "told"),
    [(LABELS / 2, "float64"), (np.eye(3, dtype=int), r"\(3, 3\)"), (LABELS == 1, "bool")],
)
def test_labels_that_are_not_class_numbers_are_refused(labels, told):
    with pytest.raises(DataError, match=told):
        to_labels(labels, "x")


def test_a_pair_of_splits_is_read_as_it_stands(write):
    path = write(train_images=COLOUR, train_labels=LABELS, test_images=COLOUR[:4],
                 test_labels=LABELS[:4, None])  # fmt: skip
    raw = Npz().load(path)
    np.testing.assert_array_equal(raw.train.images, COLOUR)
    assert raw.test.labels.tolist() == LABELS[:4].tolist()
    assert raw.classes == ("0", "1")
    assert raw.mean == pytest.approx((COLOUR / 255).mean(axis=(0, 2, 3)))


def test_without_a_test_set_a_fifth_of_each_class_is_cut_off(write):
    raw = Npz().load(write(images=GREY, labels=LABELS))
    assert len(raw.train) == 16
    assert np.bincount(raw.test.labels).tolist() == [2, 2]


def test_class_names_are_read_from_the_file(write):
    raw = Npz().load(write(images=GREY, labels=LABELS, classes=np.array(["cat", "dog", "owl"])))
    assert raw.classes == ("cat", "dog", "owl")


def test_class_names_that_are_numbers_are_refused(write):
    with pytest.raises(DataError, match="classes are int64 of shape"):
        Npz().load(write(images=GREY, labels=LABELS, classes=np.arange(2)))


@pytest.mark.parametrize("label", [-1, 2, 10**12])
def test_a_wrong_label_is_refused_with_the_file_value_and_place(write, label):
    labels = LABELS.astype(np.int64)
    labels[7] = label
    path = write(train_images=GREY, train_labels=LABELS, test_images=GREY, test_labels=labels)
    with pytest.raises(DataError, match=rf"own\.npz: test.labels: label {label} of image 7"):
        Npz().load(path)


def test_missing_keys_are_refused_with_those_that_are_there(write):
    path = write(train_images=GREY, train_labels=LABELS)
    with pytest.raises(DataError, match="the keys train_images, train_labels: give images, labels"):
        Npz().load(path)


def test_images_and_labels_of_different_number_are_refused_with_the_keys(write):
    with pytest.raises(DataError, match="images and labels: 20 images stand beside 3 labels"):
        Npz().load(write(images=GREY, labels=LABELS[:3]))


def test_constant_images_are_refused_with_the_file(write):
    with pytest.raises(DataError, match=r"own\.npz: Channel 0"):
        Npz().load(write(images=np.zeros_like(GREY), labels=LABELS))


def test_python_objects_are_not_unpickled(write):
    path = write(images=np.array([{}, {}], dtype=object), labels=LABELS)
    with pytest.raises(DataError, match="own.npz cannot be read"):
        read_npz(path)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    single = tmp_path / "images.npy"
    np.save(single, GREY)
    with pytest.raises(DataError, match=r"images\.npy is not an \.npz file"):
        read_npz(single)


def test_a_damaged_array_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, images=GREY, labels=LABELS)
    damaged = bytearray(buffer.getvalue())
    damaged[300] ^= 0xFF
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged.npz cannot be read"):
        read_npz(path)


def test_a_missing_file_is_refused_with_the_setting(tmp_path):
    with pytest.raises(DataError, match="nothing.npz is not a file: set `path`"):
        Npz().load(tmp_path / "nothing.npz")


def test_an_idx_folder_is_read_with_its_statistics(idx_folder, pair):
    raw = IdxFolder().load(idx_folder)
    np.testing.assert_array_equal(raw.train.images, pair.train.images)
    assert raw.classes == ("0", "1", "2")
    assert raw.std == pytest.approx([(pair.train.images / 255).std()])


@pytest.mark.parametrize("source", [Npz(), IdxFolder()])
def test_own_data_cannot_be_fetched(source, tmp_path, console):
    with pytest.raises(DataError, match=f"{source.name} is data of your own.*`path`"):
        source.get(tmp_path, console)

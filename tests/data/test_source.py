import numpy as np
import pytest

from compressor.data.source import ImageData, RawData, Split, check_labels
from compressor.errors import DataError

IMAGES = np.zeros((3, 1, 4, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 1])
CLASSES = ("cat", "dog")


def images_like(*shape):
    return np.zeros(shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (IMAGES.astype(np.float32), LABELS, "float32"),
        (IMAGES[:, 0], LABELS, r"\(3, 4, 5\)"),
        (IMAGES, LABELS.astype(np.int32), "int32"),
        (IMAGES, LABELS[:, None], r"\(3, 1\)"),
        (IMAGES, LABELS[:2], "3 images stand beside 2 labels"),
        (IMAGES[:0], LABELS[:0], r"\(0, 1, 4, 5\)"),
    ],
)
def test_a_split_refuses_arrays_that_are_not_images_with_labels(images, labels, told):
    with pytest.raises(DataError, match=told):
        Split(images, labels)


def test_take_keeps_each_label_with_its_image():
    split = Split(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.array([5, 6, 7]))
    taken = split.take(np.array([2, 0]))
    assert taken.images.ravel().tolist() == [2, 0]
    assert taken.labels.tolist() == [7, 5]
    assert len(taken) == 2


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_refused_with_value_and_place(label):
    labels = np.array([0, 1, label, label])
    with pytest.raises(DataError, match=rf"here: label {label} of image 2 is outside 0 .. 1"):
        check_labels(labels, 2, "here")


def test_raw_data_checks_the_labels_of_both_splits():
    good, bad = Split(IMAGES, LABELS), Split(IMAGES, LABELS + 1)
    with pytest.raises(DataError, match="test labels: label 2 of image 1"):
        RawData(good, bad, CLASSES, (0.5,), (0.5,))


def test_splits_of_different_shapes_are_refused():
    other = Split(images_like(3, 1, 5, 4), LABELS)
    with pytest.raises(DataError, match=r"test images have shape \(1, 5, 4\).*\(1, 4, 5\)"):
        RawData(Split(IMAGES, LABELS), other, CLASSES, (0.5,), (0.5,))


def test_statistics_need_one_number_per_channel():
    split = Split(images_like(3, 3, 4, 4), LABELS)
    with pytest.raises(DataError, match="1 means and 3 deviations stand beside images of 3"):
        RawData(split, split, CLASSES, (0.5,), (0.5, 0.5, 0.5))


def test_a_constant_channel_is_refused_by_its_number():
    split = Split(images_like(3, 3, 4, 4), LABELS)
    with pytest.raises(DataError, match="Channel 1 has the same value"):
        RawData(split, split, CLASSES, (0.5, 0.5, 0.5), (0.5, 0.0, 0.5))


def test_image_data_tells_its_classes_and_shape():
    split = Split(IMAGES, LABELS)
    data = ImageData("x", split, split, split, CLASSES, (0.5,), (0.5,))
    assert data.num_classes == 2
    assert data.image_shape == (1, 4, 5)


def test_image_data_checks_the_validation_labels():
    good, bad = Split(IMAGES, LABELS), Split(IMAGES, LABELS - 1)
    with pytest.raises(DataError, match="validation labels: label -1 of image 0"):
        ImageData("x", good, bad, good, CLASSES, (0.5,), (0.5,))

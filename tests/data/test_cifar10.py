import json

import numpy as np
import pytest
from PIL import Image

from compressor.data.cifar10 import (
    TEST_LABELS,
    TEST_STRIPS,
    TRAIN_LABELS,
    TRAIN_STRIPS,
    read_strips,
)
from compressor.errors import DataError

ROWS = 2


def strip_of(number):
    generator = np.random.default_rng(number)
    return generator.integers(0, 256, (ROWS, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def strips(tmp_path):
    for number, name in enumerate((*TRAIN_STRIPS, *TEST_STRIPS)):
        Image.fromarray(strip_of(number).reshape(ROWS, 1024, 3)).save(tmp_path / name)
    (tmp_path / TRAIN_LABELS).write_text(json.dumps(list(range(10))))
    (tmp_path / TEST_LABELS).write_text("[4, 5]")
    return tmp_path


def test_each_row_of_pixels_is_one_image_and_strips_follow_each_other(strips):
    train, test = read_strips(strips)
    assert train.images.shape == (10, 3, 32, 32)
    np.testing.assert_array_equal(train.images[3], strip_of(1)[1].transpose(2, 0, 1))
    np.testing.assert_array_equal(test.images[0], strip_of(5)[0].transpose(2, 0, 1))
    assert train.labels.tolist() == list(range(10))
    assert test.labels.tolist() == [4, 5]


def test_a_strip_of_another_width_is_refused(strips):
    Image.new("RGB", (1000, 2)).save(strips / TRAIN_STRIPS[2])
    with pytest.raises(DataError, match=rf"{TRAIN_STRIPS[2]} has shape \(2, 1000, 3\)"):
        read_strips(strips)


def test_a_cut_strip_is_refused(strips):
    path = strips / TEST_STRIPS[0]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="test_batch.png cannot be read"):
        read_strips(strips)


@pytest.mark.parametrize("content", ["[1, 2", '["a"]', '{"a": 1}'])
def test_broken_labels_are_refused(strips, content):
    (strips / TEST_LABELS).write_text(content)
    with pytest.raises(DataError, match=f"{TEST_LABELS} cannot be read"):
        read_strips(strips)

import numpy as np
import pytest

from compressor.data.digits import Digits


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return Digits().load(tmp_path_factory.mktemp("unused"))


def test_all_digits_are_there_and_a_fifth_is_for_the_test(raw):
    assert len(raw.train) + len(raw.test) == 1797
    assert len(raw.test) == pytest.approx(0.2 * 1797, abs=5)
    assert raw.train.images.shape[1:] == (1, 8, 8)


def test_the_test_set_is_even_over_the_classes(raw):
    counts = np.bincount(raw.test.labels), np.bincount(raw.train.labels)
    assert counts[0] / (counts[0] + counts[1]) == pytest.approx(np.full(10, 0.2), abs=0.003)


def test_no_image_is_in_both_splits_by_place():
    from sklearn.datasets import load_digits

    raw = Digits().load(None)
    both = np.concatenate([raw.train.images, raw.test.images]).reshape(1797, -1)
    original = np.rint(load_digits().data * 255 / 16)
    assert sorted(map(tuple, both)) == sorted(map(tuple, original))


def test_pixels_fill_the_range_of_bytes(raw):
    assert raw.train.images.min() == 0
    assert raw.train.images.max() == 255
    assert 128 in raw.train.images


def test_statistics_are_those_of_the_training_images(raw):
    scaled = raw.train.images / 255
    assert raw.mean == pytest.approx([scaled.mean()])
    assert raw.std == pytest.approx([scaled.std()])


def test_get_says_that_nothing_is_fetched(tmp_path, console, said):
    Digits().get(tmp_path / "digits", console)
    assert "part of scikit-learn" in said.getvalue()
    assert not (tmp_path / "digits").exists()

import numpy as np
import pytest

from compressor.data import statistics
from compressor.data.statistics import channel_statistics


def test_statistics_equal_those_of_the_scaled_pixels():
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 7), dtype=np.uint8)
    images[:, 1] //= 4
    mean, std = channel_statistics(images)
    scaled = images / 255
    assert mean == pytest.approx(scaled.mean(axis=(0, 2, 3)), rel=1e-12)
    assert std == pytest.approx(scaled.std(axis=(0, 2, 3)), rel=1e-12)


def test_blocks_do_not_change_the_answer(monkeypatch):
    images = np.random.default_rng(1).integers(0, 256, (10, 2, 3, 3), dtype=np.uint8)
    whole = channel_statistics(images)
    monkeypatch.setattr(statistics, "BLOCK_IMAGES", 3)
    assert channel_statistics(images) == whole


def test_a_constant_channel_has_no_deviation():
    assert channel_statistics(np.full((2, 1, 3, 3), 51, dtype=np.uint8)) == ((0.2,), (0.0,))

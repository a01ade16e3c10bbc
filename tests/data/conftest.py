import io
import struct

import numpy as np
import pytest

from compressor.console import Console
from compressor.data.idx import IDX_NAMES
from compressor.data.source import Split, TrainTest


def idx_bytes(values):
    """An IDX file of uint8, written independently of the reader."""
    values = np.asarray(values, dtype=np.uint8)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def make_split(num_images, *, seed=0, num_classes=3, shape=(1, 4, 4)):
    """Random images; every class in turn."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (num_images, *shape), dtype=np.uint8)
    return Split(images, np.arange(num_images, dtype=np.int64) % num_classes)


@pytest.fixture(name="idx_bytes")
def fixture_idx_bytes():
    return idx_bytes


@pytest.fixture(name="make_split")
def fixture_make_split():
    return make_split


@pytest.fixture
def pair():
    return TrainTest(make_split(12), make_split(6, seed=1))


@pytest.fixture
def idx_folder(tmp_path, pair):
    folder = tmp_path / "idx"
    folder.mkdir()
    arrays = (pair.train.images[:, 0], pair.train.labels, pair.test.images[:, 0], pair.test.labels)
    for name, values in zip(IDX_NAMES, arrays, strict=True):
        (folder / name).write_bytes(idx_bytes(values))
    return folder


@pytest.fixture
def said():
    """What the console said so far."""
    return io.StringIO()


@pytest.fixture
def console(said):
    return Console(stream=said)

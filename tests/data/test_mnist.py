import gzip

import numpy as np
import pytest

from compressor.data.mnist import MNIST_5K_FILE, read_mnist_5k
from compressor.errors import DataError

NUM_ROWS = 1010


@pytest.fixture
def table(tmp_path):
    """Rows sorted by class; the first pixels tell the row's number."""
    rows = np.zeros((NUM_ROWS, 785), dtype=np.uint8)
    rows[:, 0], rows[:, 1] = np.divmod(np.arange(NUM_ROWS), 256)
    rows[:, -1] = np.arange(NUM_ROWS) // 101
    lines = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    (tmp_path / MNIST_5K_FILE).write_bytes(gzip.compress(lines.encode(), compresslevel=1))
    return tmp_path


def row_numbers(split):
    pixels = split.images[:, 0, 0, :2].astype(int)
    return pixels[:, 0] * 256 + pixels[:, 1]


def test_rows_are_shuffled_and_the_last_thousand_are_the_test_set(table):
    train, test = read_mnist_5k(table)
    assert len(test) == 1000
    numbers = [*row_numbers(train), *row_numbers(test)]
    assert sorted(numbers) == list(range(NUM_ROWS))
    assert numbers != sorted(numbers)


def test_each_image_keeps_its_label(table):
    for split in read_mnist_5k(table):
        assert split.images.shape[1:] == (1, 28, 28)
        assert split.labels.tolist() == (row_numbers(split) // 101).tolist()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"1,2\n3,4\n", r"shape \(2, 2\)"), (b"1,x\n", "cannot be read"), (b"1,300\n", "cannot be")],
)
def test_another_table_is_refused(tmp_path, content, told):
    (tmp_path / MNIST_5K_FILE).write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=f"{MNIST_5K_FILE}.*{told}"):
        read_mnist_5k(tmp_path)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"{MNIST_5K_FILE} cannot be read"):
        read_mnist_5k(tmp_path)

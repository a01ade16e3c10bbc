import gzip

import numpy as np
import pytest

from compressor.data.idx import TEST_IMAGES, TRAIN_IMAGES, TRAIN_LABELS, read_idx, read_idx_pair
from compressor.errors import DataError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
WHOLE = b"\0\0\x08\x03" + b"\0\0\0\x02\0\0\0\x03\0\0\0\x04" + bytes(range(24))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_values_come_back_in_their_shape(tmp_path, pack):
    path = tmp_path / "values"
    path.write_bytes(pack(WHOLE))
    np.testing.assert_array_equal(read_idx(path), VALUES)


def test_sizes_are_big_endian(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"\0\0\x08\x01\0\0\x01\x02" + bytes(258))
    assert read_idx(path).shape == (258,)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 000008"),
        (b"PK\x03\x04" + WHOLE, "begins with 504b0304"),
        (b"\0\0\x08\x00", "begins with 00000800"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "IDX type 13"),
        (WHOLE[:9], "ends inside its 3 sizes, after 9 bytes"),
        (WHOLE[:-1], "ask for 24 bytes, 23 follow"),
        (WHOLE + b"\0", "ask for 24 bytes, 25 follow"),
        (gzip.compress(WHOLE, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(WHOLE, mtime=0)[:12] + b"\xff" * 20, "cannot be read"),
    ],
)
def test_a_malformed_file_is_refused_in_one_line_that_names_it(tmp_path, content, told):
    path = tmp_path / "broken-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as refused:
        read_idx(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="nowhere cannot be read"):
        read_idx(tmp_path / "nowhere")


def test_a_folder_gives_grey_images_with_one_channel(idx_folder, pair):
    read = read_idx_pair(idx_folder)
    np.testing.assert_array_equal(read.train.images, pair.train.images)
    np.testing.assert_array_equal(read.test.images, pair.test.images)
    np.testing.assert_array_equal(read.test.labels, pair.test.labels)


def test_packed_and_plain_files_may_stand_side_by_side(idx_folder, pair):
    plain = idx_folder / TEST_IMAGES
    plain.with_name(f"{TEST_IMAGES}.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    np.testing.assert_array_equal(read_idx_pair(idx_folder).test.images, pair.test.images)


def test_a_missing_file_of_the_four_is_named(idx_folder):
    (idx_folder / TRAIN_LABELS).unlink()
    with pytest.raises(DataError, match=f"neither {TRAIN_LABELS} nor {TRAIN_LABELS}.gz"):
        read_idx_pair(idx_folder)


def test_swapped_files_are_refused(idx_folder):
    (idx_folder / TRAIN_IMAGES).write_bytes((idx_folder / TRAIN_LABELS).read_bytes())
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} has 1 dimensions, 3 are needed"):
        read_idx_pair(idx_folder)


def test_a_label_too_few_is_refused_with_the_files(idx_folder, idx_bytes):
    (idx_folder / TRAIN_LABELS).write_bytes(idx_bytes([0, 1]))
    with pytest.raises(
        DataError, match=f"{TRAIN_IMAGES} and {TRAIN_LABELS}: 12 images .* 2 labels"
    ):
        read_idx_pair(idx_folder)

import pytest
from PIL import Image

from compressor.errors import DataError
from compressor.init.survey import SAMPLE, spread, survey


def test_a_folder_that_nobody_prepared_is_counted(photos):
    found = survey(photos)
    assert found.counts == {"blue": 36, "green": 12, "red": 25}
    assert found.uneven == 3.0
    assert 30 <= found.shorter_side < 44
    assert found.sampled == found.num_pictures - 1
    assert found.shapes > found.sampled / 2


def test_a_sample_is_spread_over_all_files():
    assert spread(list(range(1000)), 3) == [0, 499, 999]
    assert len(spread(list(range(1000)), SAMPLE)) == SAMPLE
    assert spread([7], 3) == [7]


def test_a_folder_without_one_readable_picture_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="no size of 4 pictures can be read"):
        survey(tmp_path)


def test_sizes_are_read_without_decoding(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (50, 20)).save(tmp_path / name / f"{number}.png")
    assert survey(tmp_path).shorter_side == 20

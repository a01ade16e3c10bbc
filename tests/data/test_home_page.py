import shutil

import numpy as np
import pytest

from compressor.data import home_page
from compressor.data.fetch import HomePage
from compressor.data.store import read_home_page


@pytest.fixture(autouse=True)
def default_timeout():
    yield
    home_page.socket.setdefaulttimeout(None)


@pytest.fixture
def fetched(tmp_path, idx_folder):
    """A folder in which torchvision finds its files, so that it downloads nothing."""
    folder = tmp_path / "home"
    shutil.copytree(idx_folder, folder / "FashionMNIST" / "raw")
    return folder


def test_torchvision_leaves_its_arrays_from_a_process_of_its_own(fetched, pair):
    read = read_home_page(HomePage("FashionMNIST").fetch(fetched))
    np.testing.assert_array_equal(read.train.images, pair.train.images)
    np.testing.assert_array_equal(read.train.labels, pair.train.labels)
    np.testing.assert_array_equal(read.test.images, pair.test.images)


def test_a_failure_is_one_line_and_a_status(monkeypatch, tmp_path, capsys):
    def fail(dataset, folder):
        raise RuntimeError(f"Error downloading {dataset}:\nno such host")

    monkeypatch.setattr(home_page, "download", fail)
    assert home_page.main(["MNIST", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "\nRuntimeError: Error downloading MNIST: no such host\n"


def test_a_silent_server_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(home_page, "download", lambda *_: None)
    home_page.main(["MNIST", str(tmp_path)])
    assert home_page.socket.getdefaulttimeout() == home_page.STALL_LIMIT_S

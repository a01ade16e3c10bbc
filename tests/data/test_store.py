import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from compressor.data.fetch import InstalledFolder
from compressor.data.home_page import ARRAYS_FILE
from compressor.data.idx import read_idx_pair
from compressor.data.store import Route, StoredSource, fingerprint
from compressor.errors import DataError


@dataclass(frozen=True)
class FailingWay:
    """A way that never works."""

    description: str = "the way that fails"
    error: Exception = DataError("the server is asleep")

    def fetch(self, _folder: Path) -> Path:
        raise self.error


FAILING = Route(FailingWay(), read_idx_pair)


@pytest.fixture
def source(idx_folder, pair):
    return StoredSource(
        name="tiny",
        description="a few images",
        licence="none",
        size_note="nothing",
        classes=("a", "b", "c"),
        mean=(0.5,),
        std=(0.25,),
        sha256=fingerprint(pair),
        routes=(FAILING, Route(InstalledFolder(idx_folder), read_idx_pair)),
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "tiny"


def test_the_fingerprint_is_that_of_the_bytes_in_order(pair):
    content = b"".join(
        split.images.tobytes() + split.labels.astype("<i8").tobytes() for split in pair
    )
    assert fingerprint(pair) == hashlib.sha256(content).hexdigest()


def test_the_fingerprint_does_not_depend_on_the_memory_layout(pair):
    turned = np.asfortranarray(pair.train.images)
    assert fingerprint(pair._replace(train=replace(pair.train, images=turned))) == fingerprint(pair)


def test_the_first_way_that_works_is_taken_and_the_data_loads(source, folder, console, said, pair):
    source.get(folder, console)
    raw = source.load(folder)
    np.testing.assert_array_equal(raw.train.images, pair.train.images)
    np.testing.assert_array_equal(raw.test.labels, pair.test.labels)
    assert raw.classes == source.classes
    assert (raw.mean, raw.std) == ((0.5,), (0.25,))
    assert "tiny: trying the way that fails\n" in said.getvalue()
    assert "tiny: 12 training and 6 test images" in said.getvalue()


def test_nothing_but_the_arrays_is_left(source, folder, console):
    source.get(folder, console)
    assert [path.name for path in folder.iterdir()] == [ARRAYS_FILE]


def test_a_second_get_tries_no_way(source, folder, console, said):
    source.get(folder, console)
    said.truncate(0)
    replace(source, routes=(FAILING,)).get(folder, console)
    assert "already, checked" in said.getvalue()
    assert "trying" not in said.getvalue()


def test_when_no_way_works_one_line_lists_each_with_its_failure(source, folder, console):
    refused = Route(FailingWay("the locked way", PermissionError("no entry")), read_idx_pair)
    with pytest.raises(DataError) as failed:
        replace(source, routes=(FAILING, refused)).get(folder, console)
    message = str(failed.value)
    assert "the way that fails: the server is asleep; the locked way: no entry" in message
    assert "compressor data get tiny" in message
    assert "\n" not in message
    assert not list(folder.iterdir())


def test_other_images_than_published_are_not_kept(source, folder, console):
    with pytest.raises(DataError, match="its arrays have sha256 .*, not 00"):
        replace(source, sha256="00").get(folder, console)
    assert not list(folder.iterdir())


def test_loading_what_was_not_fetched_says_how_to_get_it(source, folder):
    with pytest.raises(DataError, match=r"tiny is not in .*: run `compressor data get tiny`\."):
        source.load(folder)
    assert not folder.exists()


def test_changed_arrays_are_refused_and_fetched_again(source, folder, console, said, pair):
    source.get(folder, console)
    changed = pair.train.images.copy()
    changed[0, 0, 0, 0] ^= 1
    np.savez(folder / ARRAYS_FILE, train_images=changed, train_labels=pair.train.labels,
             test_images=pair.test.images, test_labels=pair.test.labels)  # fmt: skip
    with pytest.raises(DataError, match="does not hold tiny as published: run"):
        source.load(folder)
    source.get(folder, console)
    assert "as published: fetching it again" in said.getvalue()
    assert len(source.load(folder).train) == 12


def test_a_cut_file_is_refused_and_fetched_again(source, folder, console, said):
    source.get(folder, console)
    stored = folder / ARRAYS_FILE
    stored.write_bytes(stored.read_bytes()[:100])
    with pytest.raises(DataError, match=r"arrays.npz is broken: run `compressor data get tiny`\."):
        source.load(folder)
    source.get(folder, console)
    assert "is broken: fetching it again" in said.getvalue()
    assert len(source.load(folder).test) == 6

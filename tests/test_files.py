import errno
import hashlib
import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save_file

from compressor.files import (
    append_line,
    fingerprint,
    read_json,
    sha256,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_after_writing(path, failure):
    path.write_text("half")
    raise failure


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_file_leaves_the_old_one_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), whole_file(path) as temporary:
        fail_after_writing(temporary, failure)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_mode_follows_the_umask_even_of_a_writer_that_replaces_the_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "w") as temporary:
            save_file({"a": np.zeros(3)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o666 & ~umask


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    path = tmp_path / "stage"
    path.mkdir()
    (path / "old").touch()
    with whole_folder(path) as temporary:
        (temporary / "new").touch()
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(tmp_path) == ["stage"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "stage"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(ValueError, match="half"), whole_folder(path) as temporary:
        fail_after_writing(temporary / "new", ValueError("half"))
    assert names(path) == ["old"]
    assert names(tmp_path) == ["stage"]


def test_a_full_disk_names_the_file_though_the_system_does_not(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space") as caught, whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_full_disk_under_safetensors_is_an_os_error_like_any_other(tmp_path, whole):
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space") as caught, whole(tmp_path / "w"):
        raise SafetensorError(said)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "w"))
    assert names(tmp_path) == []


def test_other_faults_of_safetensors_stay_what_they_are(tmp_path):
    with pytest.raises(SafetensorError, match="header"), whole_file(tmp_path / "w"):
        raise SafetensorError("invalid header")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"loss": [float("-inf")]}])
def test_json_without_a_number_for_it_is_refused_and_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


def test_json_and_text_come_back(tmp_path):
    write_json(tmp_path / "a.json", {"widths": [1, 2], "name": "ü"})
    assert read_json(tmp_path / "a.json") == {"widths": [1, 2], "name": "ü"}
    write_text(tmp_path / "b.txt", "ü\n")
    assert (tmp_path / "b.txt").read_bytes() == "ü\n".encode()


@pytest.mark.parametrize("size", [0, 5, (1 << 20) - 1, (1 << 20) + 3])
def test_sha256_is_that_of_the_bytes(tmp_path, size):
    data = bytes(number % 251 for number in range(1024)) * (size // 1024 + 1)
    (tmp_path / "a").write_bytes(data[:size])
    assert sha256(tmp_path / "a") == hashlib.sha256(data[:size]).hexdigest()


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_a_fingerprint_forgets_the_order_of_keys_and_nothing_else(value):
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)
    assert fingerprint({**value, "one more key": 1}) != fingerprint(value)


def test_lines_are_appended_in_order(tmp_path):
    for number in range(3):
        append_line(tmp_path / "log", json.dumps({"n": number}))
    assert (tmp_path / "log").read_text() == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'


def test_a_line_without_room_names_the_file():
    with pytest.raises(OSError, match="No space") as caught:
        append_line(type("Full", (), {"open": open_full, "__str__": lambda _: "log"})(), "line")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "log")


class _FullFile:
    """A file on a disk with room for three more bytes."""

    def __init__(self):
        self.kept = b"before\n"
        self.room = 3

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.kept == b"before\n"

    def tell(self):
        return len(self.kept)

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part, self.room = data[: self.room], 0
        self.kept += part
        return len(part)

    def truncate(self, size):
        self.kept = self.kept[:size]


def open_full(_path, _mode, buffering):
    assert buffering == 0
    return _FullFile()

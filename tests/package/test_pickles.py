import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compressor.errors import CheckError
from compressor.package.pickles import pickles_in

STATE = {"weight": torch.ones(3)}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_found_under_any_name(tmp_path, protocol):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps({"a": [1, 2.0, "text", b"bytes", None]}, protocol))
    assert pickles_in(path) == ["weights.safetensors"]


def test_the_pickle_in_a_file_of_torch_save_is_found(tmp_path):
    torch.save(STATE, tmp_path / "new.pt")
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert pickles_in(tmp_path / "new.pt") == ["new.pt:new/data.pkl"]
    assert pickles_in(tmp_path / "old.pt") == ["old.pt"]


def test_a_pickle_in_an_archive_in_an_archive_is_found(tmp_path):
    inner = io.BytesIO()
    torch.save(STATE, inner)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("plain.txt", "PK is how archives begin")
        archive.writestr("inner", inner.getvalue())
    assert pickles_in(tmp_path / "outer.zip") == ["outer.zip:inner:archive/data.pkl"]


def test_an_archive_behind_other_bytes_is_opened_too(tmp_path):
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + buffer.getvalue())
    assert pickles_in(tmp_path / "picture.png") == ["picture.png:archive/data.pkl"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x80\x02", b"\x80\x04 and so on", b"\x80\x06.", b"text.", b"\x80\x05\x8e" * 9],
)
def test_bytes_that_only_begin_like_a_pickle_are_none(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert pickles_in(tmp_path / "file") == []


def test_numbers_are_no_pickle_whatever_their_bytes(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8)
    weights = np.random.default_rng(1).normal(0, 0.1, 1000).astype("<f4").view(np.uint8)
    for opening in (2, 3, 4, 5):
        for noise in (numbers, weights):
            noise[:2] = 0x80, opening
            (tmp_path / "numbers").write_bytes(noise.tobytes())
            assert pickles_in(tmp_path / "numbers") == []
    save_file(STATE, tmp_path / "state.safetensors")
    assert pickles_in(tmp_path / "state.safetensors") == []


CALL = b"X\x04\0\0\0true\x85R"


@pytest.mark.parametrize(
    "opening",
    [
        b"cposix\nsystem\n",
        b"X\x05\0\0\0posixX\x06\0\0\0system\x93",
        b"(iposix\nsystem\n",
        # `pickletools` takes neither of these, and unpicklers take both.
        b"I0x10\n0cposix\nsystem\n",
        b"S'\xc3\xa9'\n0cposix\nsystem\n",
    ],
    ids=["global", "stack-global", "inst", "odd-number", "odd-text"],
)
@pytest.mark.parametrize("end", [b"\xff", b"", b"X\xff\0\0\0", b"."])
def test_a_stream_that_breaks_off_after_an_import_is_one(tmp_path, opening, end):
    (tmp_path / "file").write_bytes(b"\x80\x02" + opening + CALL + end)
    assert pickles_in(tmp_path / "file") == ["file"]


class Marks:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_what_is_called_a_broken_stream_here_would_have_been_executed(tmp_path):
    stream = pickle.dumps(Marks(tmp_path / "mark"), 2)[:-1] + b"\xff"
    (tmp_path / "file").write_bytes(stream)
    assert pickles_in(tmp_path / "file") == ["file"]
    assert not (tmp_path / "mark").exists()
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(stream)
    assert (tmp_path / "mark").exists()


def test_of_two_members_of_one_name_both_are_looked_at(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a", pickle.dumps([1]))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "plain")
    assert pickles_in(tmp_path / "twice.zip") == ["twice.zip:a"]


def test_nothing_is_executed(tmp_path):
    (tmp_path / "bomb.pkl").write_bytes(b"\x80\x04cbuiltins\nexec\n(Vraise SystemExit\ntR.")
    assert pickles_in(tmp_path / "bomb.pkl") == ["bomb.pkl"]


def test_a_broken_archive_is_an_error_and_not_clean(tmp_path):
    path = tmp_path / "broken.pt"
    torch.save(STATE, path)
    data = bytearray(path.read_bytes())
    data[2] ^= 0xFF  # of the mark that opens its first member
    path.write_bytes(data)
    with pytest.raises(CheckError, match=r"broken\.pt is a broken archive"):
        pickles_in(path)


def test_no_file_of_a_package_holds_one(packed):
    files = [path for path in packed.rglob("*") if path.is_file()]
    assert len(files) == 12
    assert [found for path in files for found in pickles_in(path)] == []

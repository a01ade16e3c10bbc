"""What the archive of a program may hold: numbers and text, as torch writes them."""

import io
import json
import pickle
import shutil
import zipfile

import pytest

from compressor.errors import CheckError
from compressor.package.archive import unplain_in

HEADERLESS = b"cposix\nsystem\n(S'true'\ntR."
"""A stream of protocol 0, which has no opening of its own."""


@pytest.fixture
def program(packed, tmp_path):
    """A copy of the program of a whole run."""
    return shutil.copyfile(packed / "model.pt2", tmp_path / "model.pt2")


@pytest.fixture
def rewritten(program):
    """Write the archive anew with some members changed or added."""

    def write(changed):
        with zipfile.ZipFile(program) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(program, "w") as archive:
            for name, data in (members | changed).items():
                archive.writestr(name, data)
        return unplain_in(program)

    return write


def test_what_torch_writes_is_plain(program, rewritten):
    assert unplain_in(program) == []
    assert rewritten({}) == []


@pytest.mark.parametrize(
    "name",
    [
        *("data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"),
        *("data/constants/opaque_obj_0", "data/constants/custom_obj_0"),
        *("data/aotinductor/model/model.so", "data/weights/weight_0/data.pkl", "version"),
    ],
)
def test_what_torch_unpickles_or_loads_is_named_whatever_it_looks_like(rewritten, name):
    assert rewritten({f"model/{name}": HEADERLESS}) == [f"model.pt2:model/{name}"]


def test_a_tensor_that_the_archive_says_is_pickled_is_found(program, rewritten):
    name = "model/data/weights/model_weights_config.json"
    with zipfile.ZipFile(program) as archive:
        value = json.loads(archive.read(name))
    next(iter(value["config"].values()))["use_pickle"] = True
    assert rewritten({name: json.dumps(value)}) == [f"model.pt2:{name}"]


@pytest.mark.parametrize("value", ["[]", "{}", '{"config": [1]}', '{"config": {"a": {}}}'])
def test_a_list_that_does_not_say_how_tensors_are_stored_is_named(rewritten, value):
    name = "model/data/weights/model_weights_config.json"
    assert rewritten({name: value}) == [f"model.pt2:{name}"]


def test_weights_may_be_any_numbers(rewritten):
    assert rewritten({"model/data/weights/weight_0": pickle.dumps({"a": 1})}) == []


@pytest.mark.parametrize("name", ["model/ARCHIVE_FORMAT", "other/models/model.json"])
def test_names_that_torch_may_take_for_others_are_named(rewritten, name):
    assert f"model.pt2:{name}" in rewritten({name: "pt2"})


def test_of_two_members_of_one_name_neither_is_trusted(program):
    with (
        zipfile.ZipFile(program, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("model/archive_format", "pt2")
    assert unplain_in(program) == ["model.pt2:model/archive_format"]


def test_what_is_no_archive_is_an_error(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"no archive")
    with pytest.raises(CheckError, match=r"model\.pt2 is a broken archive"):
        unplain_in(tmp_path / "model.pt2")


def test_an_archive_with_two_lists_of_members_is_an_error(program):
    # Torch reads the list at the place that the end names, `zipfile` the one before the end.
    other, data = io.BytesIO(), bytearray(program.read_bytes())
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("model/data/sample_inputs/model.pt", HEADERLESS)
    for both in (other.getvalue() + data, data + other.getvalue(), data + b"\0"):
        program.write_bytes(both)
        with pytest.raises(CheckError, match=r"model\.pt2 is a broken archive .*list of members"):
            unplain_in(program)

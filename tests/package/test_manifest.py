import json
import re
import shutil

import pytest

from compressor.errors import CheckError, ModelError
from compressor.files import fingerprint
from compressor.package.manifest import (
    MANIFEST,
    check_files,
    find_package,
    package_folder,
    seal,
)

FILES = (
    *("README.md", "architecture/residual.py", "certificate.json", "environment.json"),
    *("model.onnx", "model.pt2", "package.json", "plan.json", "recipe.json"),
    *("samples.safetensors", "weights.safetensors"),
)


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_package_as_it_was_made_is_accepted(packed):
    assert check_files(packed) == len(FILES)


@pytest.mark.parametrize("place", [0, 60, -1])
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_refused_with_the_name_of_the_file(copied, name, place):
    flip(copied / name, place)
    with pytest.raises(CheckError, match=re.escape(f"{name} is not the file that was packaged")):
        check_files(copied)


def test_nothing_in_the_manifest_can_change(copied):
    path = copied / MANIFEST
    before = path.read_bytes()
    for place in range(0, len(before), 3):
        flip(path, place)
        with pytest.raises(CheckError, match=r"manifest\.json is not the file"):
            check_files(copied)
        path.write_bytes(before)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(CheckError, match=re.escape(f"{name} is missing")):
        check_files(copied)


@pytest.mark.parametrize("name", ["x.py", "architecture/__pycache__/residual.cpython-311.pyc"])
def test_a_file_that_the_package_does_not_know_is_named(copied, name):
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).touch()
    with pytest.raises(CheckError, match=re.escape(f"{name} does not belong to the package")):
        check_files(copied)


def test_a_link_to_a_folder_is_a_stranger_too(copied, tmp_path):
    (copied / "more").symlink_to(tmp_path)
    with pytest.raises(CheckError, match="more does not belong"):
        check_files(copied)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"files": 3}', "\x00"])
def test_another_manifest_is_refused(copied, text):
    (copied / MANIFEST).write_text(text)
    with pytest.raises(CheckError, match=r"manifest\.json is not the file"):
        check_files(copied)


def test_a_package_of_another_release_is_told_from_a_damaged_one(copied):
    value = json.loads((copied / MANIFEST).read_text())
    sealed = {"format": value["format"], "version": 99, "files": value["files"]}
    text = json.dumps(sealed | {"digest": fingerprint(sealed)}, indent=2) + "\n"
    (copied / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match="of version 99, this release reads"):
        check_files(copied)


def test_a_manifest_written_anew_is_accepted_since_it_is_no_signature(copied, reseal):
    flip(copied / "README.md", 0)
    reseal(copied)
    assert check_files(copied) == len(FILES)


def test_sealing_twice_gives_the_same_bytes(copied):
    before = (copied / MANIFEST).read_bytes()
    seal(copied)
    assert (copied / MANIFEST).read_bytes() == before


def test_a_package_is_found_by_its_folder_and_by_that_of_its_run(packed, tmp_path):
    assert find_package(packed) == packed
    assert find_package(packed.parent) == packed
    assert find_package(str(packed)) == packed
    assert find_package(tmp_path) is None


def test_where_there_is_none_it_says_how_to_make_one(packed, tmp_path):
    shutil.copy(packed.parent / MANIFEST, tmp_path)
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelError, match="there is no package.*compressor package"):
            package_folder(place)

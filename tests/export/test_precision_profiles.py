import sys

import onnx
import pytest

from compressor.errors import MissingExtra, ModelError, RecipeError
from compressor.export.profiles import PROFILES, find_profile
from compressor.file_profile import (
    UNKNOWN,
    FileProfile,
    check_profile,
    note_profile_,
    read_profile,
)

INT8 = FileProfile(
    "int8-tensorrt",
    ("tensorrt", "tensorrt-rtx"),
    "0" * 64,
    {"method": "entropy", "num_images": 128},
)


@pytest.fixture
def noted(exported, tmp_path):
    """Write a copy of the exported file with a note."""

    def write(profile):
        proto = onnx.load(str(exported))
        note_profile_(proto, profile)
        path = tmp_path / "noted.onnx"
        onnx.save(proto, str(path))
        return path

    return write


def test_a_note_is_read_as_it_was_written(noted):
    assert read_profile(noted(INT8)) == INT8


def test_a_later_note_replaces_the_first_and_leaves_other_metadata(exported):
    proto = onnx.load(str(exported))
    proto.metadata_props.add(key="author", value="somebody")

    note_profile_(proto, INT8)
    note_profile_(proto, FileProfile("fp32", ("onnxruntime",)))

    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "author": "somebody",
        "compressor.profile": "fp32",
        "compressor.engines": "onnxruntime",
    }


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_for_other_engines_is_refused_in_one_line_that_names_them(noted, engine):
    with pytest.raises(ModelError, match=r"noted\.onnx has the profile int8-tensorrt") as refused:
        check_profile(noted(INT8), engine)

    assert f"made for tensorrt or tensorrt-rtx, not for {engine}." in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_engines_of_the_note_are_let_through(noted):
    path = noted(INT8)

    for engine in INT8.engines:
        check_profile(path, engine)


def test_a_file_without_a_note_runs_everywhere(exported):
    assert read_profile(exported).name == UNKNOWN
    check_profile(exported, "onnxruntime")


@pytest.mark.parametrize("content", [b"no protobuf at all", b"\x08\x0a"])
def test_what_is_no_onnx_is_left_to_the_engine(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    assert read_profile(path).name == UNKNOWN
    assert read_profile(tmp_path / "absent.onnx").name == UNKNOWN


def test_missing_onnx_is_named_with_its_install_command(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(MissingExtra, match="python -m pip install onnx"):
        read_profile(exported)


def test_an_unknown_profile_is_refused_with_the_list():
    with pytest.raises(RecipeError, match=r"no profile 'int4'. Choose one of fp32, fp16, bf16"):
        find_profile("int4")


def test_profiles_go_by_their_names_and_every_one_has_an_engine():
    assert all(find_profile(name).name == name for name in PROFILES)
    assert all(profile.engines for profile in PROFILES.values())


def test_graphs_for_tensorrt_are_symmetric_and_keep_float_biases():
    for name in ("int8-tensorrt", "fp8-tensorrt"):
        options = PROFILES[name].quantiser.options

        assert options["ActivationSymmetric"] is True
        assert options["QuantizeBias"] is False


def test_eight_bits_are_quantised_and_other_precisions_are_not():
    quantised = {p.precision for p in PROFILES.values() if p.quantiser is not None}

    assert quantised == {"int8", "fp8"}

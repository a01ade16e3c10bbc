"""The multiple of channels that a target wants, and how it is written in a recipe."""

import pytest
from pydantic import ValidationError

from compressor.strip.budget import StripSettings
from compressor.strip.target import TargetSettings, multiple_for


def multiple(round_to="auto", block=16, capability="AVX512", **target):
    settings = TargetSettings(**target)
    return multiple_for(round_to, settings, lambda: block, capability).channels


def never():
    raise AssertionError("the block is looked for in vain")


@pytest.mark.parametrize("block", [8, 16])
def test_widths_for_onnxruntime_go_by_its_block_on_this_cpu(block):
    assert multiple(block=block) == block
    assert multiple(block=block, precision="fp16") == block


def test_a_cpu_without_blocks_gets_a_common_multiple_and_is_told():
    found = multiple_for("auto", TargetSettings(), lambda: None, "DEFAULT")
    assert found.channels == 8
    assert "no blocked layout" in found.why


@pytest.mark.parametrize(
    ("engine", "precision", "expected"),
    [
        ("onnxruntime", "int8", 16),
        ("openvino", "fp32", 16),
        ("openvino", "int8", 16),
        ("tensorrt", "fp32", 8),
        ("tensorrt", "fp16", 8),
        ("tensorrt", "int8", 32),
        ("tensorrt-rtx", "int8", 32),
        ("tensorrt", "fp8", 16),
        ("openvino", "bf16", 16),
    ],
)
def test_other_targets_have_theirs_whatever_the_block_is(engine, precision, expected):
    target = TargetSettings(engine=engine, precision=precision)
    assert multiple_for("auto", target, never, "AVX2").channels == expected


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", 16), ("AVX2", 8), ("DEFAULT", 8)])
def test_widths_for_torch_go_by_the_vectors_of_the_cpu(capability, expected):
    assert multiple(engine="torch", capability=capability) == expected


def test_a_number_is_taken_as_it_is():
    assert multiple_for(6, TargetSettings(), never, "AVX512").channels == 6


@pytest.mark.parametrize("wrong", [0, -8, True, 8.0, "Auto", None])
def test_no_other_multiple_is_taken_and_the_message_shows_it(wrong):
    with pytest.raises(ValidationError, match=f"{wrong!r} is not a multiple for widths"):
        StripSettings(round_to=wrong)


def test_what_may_be_written_survives_json():
    for value in (1, 32, "auto"):
        settings = StripSettings(round_to=value)
        assert StripSettings.model_validate_json(settings.model_dump_json()) == settings

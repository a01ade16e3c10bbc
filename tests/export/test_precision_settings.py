import pytest
from pydantic import ValidationError

from compressor.export.precision import PrecisionSettings

NO_PROFILE = "without a profile, and profiles = []"


@pytest.mark.parametrize(
    ("profiles", "given", "told"),
    [
        ([], {"num_threads": 2}, f"num_threads has no effect {NO_PROFILE}"),
        ([], {"gate": {"max_accuracy_drop": 0.1}}, f"gate has no effect {NO_PROFILE}"),
        ([], {"quant": {"num_images": 9}}, f"quant has no effect {NO_PROFILE}"),
        (["fp16"], {"quant": {"method": "entropy"}}, "quant has no effect without an int8 or fp8"),
        (["bf16"], {"gate": {"max_evaluations": 9}}, "gate.max_evaluations has no effect"),
        (
            ["fp16", "fp8-tensorrt"],
            {"quant": {"method": "percentile", "percentile": 99.0}},
            "quant.method has no effect without an int8 profile",
        ),
    ],
)
def test_a_setting_that_no_profile_reads_is_refused_in_one_line(profiles, given, told):
    with pytest.raises(ValidationError) as refused:
        PrecisionSettings(profiles=profiles, **given)

    (error,) = refused.value.errors()
    assert told in error["msg"]
    assert "\n" not in error["msg"]


@pytest.mark.parametrize(
    ("profiles", "given"),
    [
        (["fp16"], {"num_threads": 2, "gate": {"max_evaluations": 9}}),
        (["bf16"], {"gate": {"max_accuracy_drop": 0.1}}),
        (["fp8-tensorrt"], {"quant": {"num_images": 9, "batch_size": 3}}),
        (["bf16", "int8-openvino"], {"quant": {"method": "entropy"}}),
    ],
)
def test_a_setting_that_a_profile_reads_is_taken(profiles, given):
    PrecisionSettings(profiles=profiles, **given)


@pytest.mark.parametrize("profiles", [[], ["fp16"], ["fp8-tensorrt"]])
def test_settings_that_were_stored_with_every_field_are_read_again(profiles):
    settings = PrecisionSettings(profiles=profiles)

    assert PrecisionSettings(**settings.model_dump(mode="json")) == settings


def test_a_profile_named_twice_is_refused():
    with pytest.raises(ValidationError, match="profiles names one value twice"):
        PrecisionSettings(profiles=["fp16", "bf16", "fp16"])

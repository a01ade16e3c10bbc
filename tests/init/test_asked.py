import pytest

from compressor.errors import RecipeError
from compressor.init.asked import Target, read_target, read_targets


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("keep_macs=0.5", Target("keep_macs", 0.5)),
        ("keep-params=1", Target("keep_params", 1.0)),
        ("latency_ms=3@onnxruntime", Target("latency_ms", 3.0, "onnxruntime")),
        ("latency-ms=3.5@tensorrt-rtx", Target("latency_ms", 3.5, "tensorrt-rtx")),
    ],
)
def test_a_target_is_a_budget_and_perhaps_an_engine(text, target):
    assert read_target(text) == target


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("half", "write KEY=NUMBER"),
        ("keep_mac=0.5", "Did you mean keep_macs?"),
        ("keep_macs=half", "'half' is not a number"),
        ("keep_macs=50", "not a share above 0, at most 1"),
        ("keep_macs=0", "not a share above 0"),
        ("latency_ms=nan", "not milliseconds above 0"),
        ("latency_ms=3@onnxrutime", "Did you mean onnxruntime?"),
    ],
)
def test_a_wrong_target_is_one_line_with_its_text(text, told):
    with pytest.raises(RecipeError, match="^--target") as refused:
        read_target(text)
    assert text in str(refused.value)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_targets_of_two_engines_are_refused():
    with pytest.raises(RecipeError, match="the engines onnxruntime and openvino"):
        read_targets(("keep_macs=0.5@openvino", "latency_ms=3@onnxruntime"))


def test_a_target_is_written_as_slice_takes_it():
    assert Target("latency_ms", 3.0).option == "--latency-ms 3"

"""The section ``target`` of a recipe, and what it means for ``strip``."""

import pytest

from compressor.errors import RecipeError
from compressor.recipe import find_recipe, load_recipe

DIGITS = find_recipe("digits")


def test_the_target_is_onnx_runtime_on_one_thread_unless_said_otherwise():
    target = load_recipe(DIGITS).target
    assert target.model_dump() == {
        "engine": "onnxruntime",
        "precision": "fp32",
        "batch_size": 1,
        "num_threads": 1,
    }


def test_a_target_is_read():
    recipe = load_recipe(DIGITS, ["target.engine=tensorrt", "target.precision=fp16"])
    assert (recipe.target.engine, recipe.target.precision) == ("tensorrt", "fp16")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("target.engine=onnx", "target.engine = \"onnx\": input should be 'onnxruntime', "),
        ("target.batch_size=0", "target.batch_size = 0: input should be greater than or equal"),
        ("target.batch=8", "target.batch: there is no such key. Did you mean batch_size?"),
        (
            "strip.round_to=0",
            "strip.round_to: 0 is not a multiple for widths; give a whole number "
            'from 1, or "auto".',
        ),
        ("strip.round_to=best", "strip.round_to: 'best' is not a multiple for widths"),
        ("target.num_threads=2", "target.num_threads = 2: only a budget in time depends on it"),
        ("strip.keep_latency=0.5", "strip: keep_macs = 0.3 and keep_latency = 0.5 are two budgets"),
    ],
)
def test_a_mistake_is_one_line_with_the_value_and_the_way_out(override, line):
    with pytest.raises(RecipeError) as error:
        load_recipe(DIGITS, [override])
    (told,) = str(error.value).splitlines()
    assert line in told


@pytest.mark.parametrize("value", [16, "auto"])
def test_widths_may_go_by_a_number_or_by_the_target(value):
    assert load_recipe(DIGITS, [f"strip.round_to={value}"]).strip.round_to == value

import pytest

from compressor.overrides import near, set_value


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a.b = [1, 2]", {"a": {"b": [1, 2], "kept": 0}}),
        ("a.b=word", {"a": {"b": "word", "kept": 0}}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
    ],
)
def test_a_value_is_toml_or_a_word_in_its_section(override, expected):
    values = {"a": {"kept": 0}}
    assert set_value(values, override, "x=1") is None
    assert values == expected


@pytest.mark.parametrize("override", ["a", "=1", "a..b=1"])
def test_what_is_no_assignment_is_answered_with_an_example(override):
    values = {}
    assert set_value(values, override, "x=1").endswith("write section.key=value, such as x=1.")
    assert values == {}


def test_a_value_is_no_section():
    assert (
        set_value({"a": 1}, "a.b=2", "x=1")
        == "--set a.b=2: a is a value, not a section. Set a itself."
    )


def test_the_nearest_word_or_all():
    assert near("tf23", ["tf32", "refit"]) == "Did you mean tf32?"
    assert near("zzz", ["tf32", "refit"]) == "There are tf32, refit."

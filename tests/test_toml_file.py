import pytest

from compressor.errors import RecipeError
from compressor.toml_file import lines_of, read_toml

TEXT = '''# The first line says nothing.
name = "a"

[model]
factory = "f" # with a remark
arguments = { widths = [4, 8], deep = { est = 1 } }

  [data.more]
  text = """
[train]
epochs = 3
"""
  list = [
    1,  # [strip]
    2,
  ]
a.b = 1
"quoted key" = 2

[[many]]
x = 1
[[many]]
x = 2
'''


def test_each_key_has_the_line_in_which_it_begins():
    assert lines_of(TEXT) == {
        ("name",): 2,
        ("model",): 4,
        ("model", "factory"): 5,
        ("model", "arguments"): 6,
        ("model", "arguments", "widths"): 6,
        ("model", "arguments", "deep"): 6,
        ("model", "arguments", "deep", "est"): 6,
        ("data",): 8,
        ("data", "more"): 8,
        ("data", "more", "text"): 9,
        ("data", "more", "list"): 13,
        ("data", "more", "a"): 17,
        ("data", "more", "a", "b"): 17,
        ("data", "more", "quoted key"): 18,
        ("many",): 20,
        ("many", "x"): 21,
    }


def test_values_and_lines_are_read_together(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    file = read_toml(path)
    assert file.values["data"]["more"]["list"] == [1, 2]
    assert file.lines[("many", "x")] == 21


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb = 1\na = 2\n", "line 3: a is given again, first in line 1. Keep one of them."),
        ("[s]\na = 1\n[t]\na = 1\n[s]\n", "line 5: s is given again, first in line 1."),
        ("[s]\na = 1\n[t]\nb = 1\nb = 2\n", "line 5: t.b is given again, first in line 4."),
        ("[s]\na = 1\n\nb = [1\n", "line 4: this is not TOML: unclosed array in 'b = [1'."),
        ("x = 1\n[s\n", "line 2: this is not TOML: expected ']'"),
        ("x = 1\ny = tru\n", "line 2: this is not TOML: invalid value in 'y = tru'. Mend"),
        ("a = { b = 1, b = 2 }\n", "line 1: this is not TOML: duplicate inline table key 'b'"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f"{path}, {told}")
    assert "\n" not in str(caught.value)

import tomllib

from compressor.init.toml_text import LINE, Choice, Section, as_toml, comment


def test_what_is_written_is_what_is_read():
    odd = 'C:\\photos "of" ünïcode\x7f#\n'
    sections = (
        Section("", "The head.", (Choice("name", odd, ""),)),
        Section("data", "x " * 200, (Choice("mean", (0.5, 1e-7, 3), "why"), Choice("n", 3, ""))),
    )
    text = as_toml(sections)
    assert tomllib.loads(text) == {"name": odd, "data": {"mean": [0.5, 1e-7, 3], "n": 3}}


def test_comments_keep_their_paragraphs_and_the_width():
    lines = comment("first\n\n" + "word " * 60)
    assert lines[:2] == ["# first", "#"]
    assert all(line.startswith("#") and len(line) <= LINE for line in lines)


def test_reasons_stand_above_their_keys():
    text = as_toml((Section("a", "table", (Choice("k", 1, "because"),), ("also",)),))
    assert text == "# table\n[a]\n# because\nk = 1\n# also\n"

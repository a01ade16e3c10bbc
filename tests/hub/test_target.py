from pathlib import Path

import pytest

from compressor.errors import RecipeError
from compressor.hub.target import Repository, read_target


@pytest.mark.parametrize("text", ["shelf/slim", "/tmp/slim", "./hf:me/slim", "me/slim"])
def test_what_does_not_begin_with_hf_is_a_folder(text):
    assert read_target(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:me/slim", Repository("me/slim")),
        ("hf:me/slim-0.5_x@v1.2", Repository("me/slim-0.5_x", "v1.2")),
        ("hf:a/b@refs/pr/1", Repository("a/b", "refs/pr/1")),
    ],
)
def test_a_repository_has_an_owner_a_name_and_perhaps_a_revision(text, expected):
    assert read_target(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text", ["hf:", "hf:slim", "hf:me/", "hf:me/slim/x", "hf:../up", "hf:me/slim@", "hf: me/slim"]
)
def test_anything_else_after_hf_is_refused_with_what_to_write(text):
    with pytest.raises(RecipeError, match=r"is not a repository\. Write hf:owner/name"):
        read_target(text)

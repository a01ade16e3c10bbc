from types import SimpleNamespace

import pytest

from compressor.errors import ModelError
from compressor.tensorrt.timing_cache import attach_cache, keep_cache


class Config:
    """A builder's configuration that takes any cache but those that start with ``other``."""

    def __init__(self):
        self.content = None

    def create_timing_cache(self, serialized_timing_cache):
        if serialized_timing_cache.startswith(b"broken"):
            return None
        return SimpleNamespace(serialize=lambda: serialized_timing_cache + b"+")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.content = cache
        return not cache.serialize().startswith(b"other")

    def get_timing_cache(self):
        return self.content


def test_an_absent_file_is_an_empty_cache_and_grows(tmp_path):
    path = tmp_path / "cache.bin"
    for expected in (b"+", b"++"):
        config = Config()
        attach_cache(config, path)
        keep_cache(config, path)
        assert path.read_bytes() == expected


@pytest.mark.parametrize("content", [b"broken", b"other GPU"])
def test_a_cache_that_does_not_fit_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "cache.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cache\.bin is not a timing cache of this GPU"):
        attach_cache(Config(), path)
    assert path.read_bytes() == content

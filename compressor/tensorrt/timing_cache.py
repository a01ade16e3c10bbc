"""The timing cache: what tactics took on this GPU, kept in a file between builds."""

from pathlib import Path
from typing import Any

from compressor.errors import ModelError
from compressor.files import whole_file


def attach_cache(config: Any, path: Path) -> Any:
    """Give the build what ``path`` holds, or an empty cache if there is no such file.

    Returns:
        The cache; it has to live until the build is over.

    Raises:
        ModelError: The file is no timing cache, or one of another GPU or release.
    """
    before = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(before)
    if cache is None or not config.set_timing_cache(cache, False):
        raise ModelError(
            f"timing_cache: {path} is not a timing cache of this GPU and this release. "
            "Delete it, or name another file."
        )
    return cache


def keep_cache(config: Any, path: Path) -> None:
    """Write what the build knows now to ``path``, whole or not at all."""
    cache = config.get_timing_cache()
    with whole_file(path) as temporary:
        temporary.write_bytes(bytes(cache.serialize()))

"""TOML files of the user, read or refused in one line."""

import tomllib
from pathlib import Path
from typing import Any

from compressor.errors import RecipeError


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in the file at ``path``.

    Raises:
        RecipeError: It cannot be read, is not UTF-8 text, or is not TOML.
    """
    try:
        # Some editors open a file with a byte order mark, which TOML does not know.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as failure:
        raise RecipeError(f"{path} is not TOML: {failure}. Mend that place.") from failure
    except UnicodeDecodeError as failure:
        raise RecipeError(
            f"{path} is not UTF-8 text: {failure.reason} at byte {failure.start}. Save it as UTF-8."
        ) from failure
    except OSError as failure:
        raise RecipeError(
            f"{path} cannot be read: {failure.strerror}. Mend its permissions, or name another."
        ) from failure

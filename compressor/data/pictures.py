"""Picture files -> an array of squares, decoded once; what cannot be read is named."""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.data.source import Images
from compressor.errors import DataError
from compressor.files import fingerprint, read_json, whole_file, write_json

Resize = Literal["stretch", "crop"]
"""How a picture becomes a square: stretched, or its middle after scaling the shorter side."""

Broken = Literal["refuse", "leave-out"]
"""What happens to files that cannot be read."""

DEEP_MODES = ("I", "F")
"""Pillow's names for more than 8 bits per channel begin so."""

DECODE_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    ValueError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on broken files, found by feeding them such files."""

CACHE_VERSION = 2
"""Goes up when images are decoded differently, so that old caches are not read."""

WHITE = (255, 255, 255, 255)
"""What shows through transparent parts; the colours below them are often left over."""


@dataclass(frozen=True)
class Form:
    """What pictures become: squares of ``size`` pixels, by the rule ``resize``."""

    size: int
    resize: Resize = "stretch"


class Unreadable(DataError):
    """A file that is not taken as a picture.

    Attributes:
        why: The file and what is wrong with it, without an end.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} {why}: mend or remove it, "
            'or leave such files out by data.broken = "leave-out".'
        )
        self.why = f"{path} {why}"


@dataclass(frozen=True)
class Decoded:
    """Pictures in memory, or mapped from the disk.

    Attributes:
        images: Shape ``(pictures, 3, size, size)``; writing to it does not reach the disk.
        kept: Places of the pictures among the files that were asked for, int64, rising.
        broken: Why the others cannot be read, a sentence without its end each, naming the file.
    """

    images: Images
    kept: NDArray[np.int64]
    broken: tuple[str, ...]


def decode(path: Path, form: Form) -> NDArray[np.uint8]:
    """Decode a picture, turned upright, on white where it is transparent.

    Args:
        path: The file.
        form: What it becomes.

    Returns:
        Red, green and blue, shape ``(3, size, size)``.

    Raises:
        Unreadable: The file cannot be decoded, or has more than 8 bits per channel.
    """
    try:
        # Pillow warns of large pictures and of odd metadata, neither of which matters here.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                raise Unreadable(path, f"has more than 8 bits per channel (mode {image.mode})")
            square = _square(_opaque(ImageOps.exif_transpose(image)), form)
    except DECODE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(path, f"cannot be read as an image ({reason})") from error
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, WHITE), whole).convert("RGB")


def _square(image: Image.Image, form: Form) -> Image.Image:
    size = (form.size, form.size)
    if form.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return image.resize(size, Image.Resampling.BILINEAR)


def decoded(files: Sequence[Path], form: Form, broken: Broken, cache: Path) -> Decoded:
    """Pictures of ``files`` in their order, mapped from a file in ``cache`` that is made if needed.

    The file's name follows the names, sizes and times of change of all files: when one of them
    changes, all are decoded anew. Beside it lies what could not be read, if anything.

    Raises:
        Unreadable: A file cannot be read, and such files are refused.
        DataError: No file at all can be read, or the file in the cache is broken.
    """
    path = cache / f"{_fingerprint(files, form)}.npy"
    notes = path.with_suffix(".json")
    # What an earlier recipe left out is decoded anew where that is refused: it may be read by now.
    if not path.is_file() or (broken == "refuse" and notes.is_file()):
        _write(path, files, form, broken)
    try:
        # Copy on write: PyTorch warns about arrays that it may not write to.
        images: Images = np.load(path, mmap_mode="c", allow_pickle=False)
        left_out = {int(place): why for place, why in read_json(notes)} if notes.is_file() else {}
        if len(images) + len(left_out) != len(files):
            raise ValueError(f"{len(images)} of {len(files)} pictures")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is broken ({error}): delete it, it is made again.") from error
    kept = np.array([place for place in range(len(files)) if place not in left_out], dtype=np.int64)
    return Decoded(images, kept, tuple(left_out.values()))


def _fingerprint(files: Sequence[Path], form: Form) -> str:
    facts = []
    for path in files:
        stat = path.stat()
        facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    settings = {"version": CACHE_VERSION, "image_size": form.size, "resize": form.resize}
    return fingerprint({**settings, "files": facts})


def _write(path: Path, files: Sequence[Path], form: Form, policy: Broken) -> None:
    """Write a ``.npy`` file one picture at a time; a full disk is then an error, not a crash."""
    broken: list[tuple[int, str]] = []
    notes = path.with_suffix(".json")
    with whole_file(path) as temporary, temporary.open("wb") as file:
        _write_header(file, (len(files), 3, form.size, form.size))
        start = file.tell()
        for place, picture in enumerate(files):
            try:
                file.write(decode(picture, form).tobytes())
            except Unreadable as failure:
                if policy == "refuse":
                    raise
                broken.append((place, failure.why))
        if len(broken) == len(files):
            raise DataError(f"None of {len(files)} pictures can be read: {broken[0][1]}.")
        if broken:
            file.seek(0)
            _write_header(file, (len(files) - len(broken), 3, form.size, form.size))
            # NumPy leaves room for a growing first axis, so a smaller one takes no less.
            assert file.tell() == start, "the header of another number of pictures is as long"
            write_json(notes, broken)
        else:
            notes.unlink(missing_ok=True)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)

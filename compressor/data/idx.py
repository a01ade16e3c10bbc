"""Reading IDX, the file format of MNIST and its relatives.

A file is two zero bytes, one byte that names the type of the values (8: uint8), one byte that
counts the dimensions, one big-endian uint32 per dimension with its size, and then the values,
last dimension fastest. It may be packed with gzip.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.data.source import Split, TrainTest
from compressor.errors import DataError

UINT8_TYPE = 8
MAGIC_BYTES = 4
SIZE_BYTES = 4
GZIP_MAGIC = b"\x1f\x8b"

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
IDX_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Values of an IDX file of uint8, plain or gzip, in the shape that the file says.

    Raises:
        DataError: The file cannot be read, is not IDX, holds another type than uint8, or is
            shorter or longer than its sizes say.
    """
    content = _read_bytes(path)
    shape = _read_shape(path, content)
    values = np.frombuffer(content, dtype=np.uint8, offset=MAGIC_BYTES + SIZE_BYTES * len(shape))
    if values.size != math.prod(shape):
        raise DataError(
            f"{path}: its sizes {shape} ask for {math.prod(shape)} bytes, "
            f"{values.size} follow: fetch the file again."
        )
    return values.reshape(shape).copy()


def read_idx_pair(folder: Path) -> TrainTest:
    """Training and test images of a folder with the four usual files, each plain or ``.gz``.

    Returns:
        Grey images, shape ``(num_images, 1, height, width)``.

    Raises:
        DataError: A file is missing or broken, or images and labels do not fit together.
    """
    return TrainTest(
        _read_split(folder, TRAIN_IMAGES, TRAIN_LABELS),
        _read_split(folder, TEST_IMAGES, TEST_LABELS),
    )


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # By content, not by name: browsers and servers unpack files and keep the name.
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): fetch the file again.") from error


def _read_shape(path: Path, content: bytes) -> tuple[int, ...]:
    if len(content) < MAGIC_BYTES or content[:2] != b"\0\0" or content[3] == 0:
        raise DataError(
            f"{path} begins with {content[:MAGIC_BYTES].hex() or 'nothing'}, an IDX file with two "
            "zero bytes, a type and a number of dimensions: give an IDX file."
        )
    value_type, num_dims = content[2], content[3]
    if value_type != UINT8_TYPE:
        raise DataError(
            f"{path} holds IDX type {value_type}: store the values as uint8 (type {UINT8_TYPE})."
        )
    sizes = content[MAGIC_BYTES : MAGIC_BYTES + SIZE_BYTES * num_dims]
    if len(sizes) < SIZE_BYTES * num_dims:
        raise DataError(
            f"{path} ends inside its {num_dims} sizes, after {len(content)} bytes: "
            "fetch the file again."
        )
    return struct.unpack(f">{num_dims}I", sizes)


def _read_split(folder: Path, images_name: str, labels_name: str) -> Split:
    images_path, labels_path = _find(folder, images_name), _find(folder, labels_name)
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, num_dims in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != num_dims:
            raise DataError(
                f"{path} has {array.ndim} dimensions, {num_dims} are needed: "
                "check which file holds the images and which the labels."
            )
    try:
        return Split(images[:, None], labels.astype(np.int64))
    except DataError as error:
        raise DataError(f"{images_path} and {labels_path.name}: {error}") from error


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} holds neither {name} nor {name}.gz: put the four IDX files there.")

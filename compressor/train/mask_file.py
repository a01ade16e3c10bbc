"""Masks of single weights as a tensor file: what a structure of weights is saved as."""

from pathlib import Path
from typing import get_args

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from compressor.errors import StructureError
from compressor.files import whole_file
from compressor.structure import Granularity, Structure

MASKS_FILE = "masks.safetensors"
"""Its name in the folder of a stage."""

GRANULARITY = "granularity"
"""Key in the head of the file, for what the masks leave out."""

_GRANULARITIES: dict[str, Granularity] = {known: known for known in get_args(Granularity)}


def save_masks(path: Path, structure: Structure) -> None:
    """Write the masks of ``structure``, a bool tensor for each parameter, whole or not at all."""
    masks = {name: kept.cpu().contiguous().clone() for name, kept in structure.keep.items()}
    with whole_file(path) as temporary:
        save_file(masks, temporary, metadata={GRANULARITY: structure.granularity})


def load_masks(path: Path) -> Structure:
    """What ``save_masks`` wrote.

    Raises:
        StructureError: The file is not one that ``save_masks`` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            granularity = _GRANULARITIES[(file.metadata() or {})[GRANULARITY]]
            masks = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, KeyError) as fault:
        raise StructureError(
            f"{path}: the masks cannot be read ({type(fault).__name__}: {fault}). "
            "Use a masks.safetensors as train or strip wrote it."
        ) from fault
    return Structure(masks, granularity)

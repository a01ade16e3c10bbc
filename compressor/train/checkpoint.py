"""Checkpoints in safetensors and JSON: nested state with tensors in it, and no pickle.

Tensors go into one safetensors file; everything else into a JSON file, where each tensor is
replaced by its key. Dictionaries whose keys are not text, as in optimisers, become lists of pairs,
and numbers that JSON lacks (NaN and the infinities) become text.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from compressor.errors import TrainError
from compressor.files import read_json, whole_file, whole_folder, write_json

TENSOR, PAIRS, TUPLE, FLOAT = MARKS = ("__tensor__", "__pairs__", "__tuple__", "__float__")
TENSORS_FILE, STATE_FILE = "state.safetensors", "state.json"


def pack(value: Any, tensors: dict[str, Tensor], place: str = "state") -> Any:
    """``value`` as JSON; its tensors are put into ``tensors`` under keys that say where they were.

    Raises:
        TypeError: Something in it is neither a tensor, a container, a number, text nor None.
    """
    if isinstance(value, Tensor):
        return {TENSOR: _put(value, tensors, place)}
    if isinstance(value, dict):
        items = {key: pack(item, tensors, f"{place}.{key}") for key, item in value.items()}
        if all(isinstance(key, str) and key not in MARKS for key in items):
            return items
        return {PAIRS: [[pack(key, tensors, place), item] for key, item in items.items()]}
    if isinstance(value, list | tuple):
        parts = [pack(item, tensors, f"{place}.{i}") for i, item in enumerate(value)]
        return parts if isinstance(value, list) else {TUPLE: parts}
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which a checkpoint cannot hold")


def _put(value: Tensor, tensors: dict[str, Tensor], place: str) -> str:
    """Store a copy under a key that says where it was; names with dots can make places equal."""
    key = place if place not in tensors else f"{place}#{len(tensors)}"
    tensors[key] = value.detach().cpu().contiguous().clone()
    return key


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What ``pack`` was given."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if PAIRS in value:
        return {unpack(key, tensors): unpack(item, tensors) for key, item in value[PAIRS]}
    if FLOAT in value:
        return float(value[FLOAT])
    if TUPLE in value:
        return tuple(unpack(item, tensors) for item in value[TUPLE])
    return {key: unpack(item, tensors) for key, item in value.items()}


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` into ``folder``; what stood there goes only once the new one is whole."""
    with whole_folder(folder) as temporary:
        tensors: dict[str, Tensor] = {}
        write_json(temporary / STATE_FILE, pack(state, tensors))
        save_file(tensors, temporary / TENSORS_FILE)


def load_state(folder: Path) -> dict[str, Any] | None:
    """What ``save_state`` wrote, or None where there is no checkpoint.

    Raises:
        TrainError: The checkpoint is damaged.
    """
    if not (folder / STATE_FILE).is_file():
        return None
    try:
        tensors = load_file(folder / TENSORS_FILE)
        state: dict[str, Any] = unpack(read_json(folder / STATE_FILE), tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as failure:
        raise TrainError(
            f"{folder}: the checkpoint is damaged ({failure}). Delete the folder to train anew."
        ) from failure
    return state


def save_weights(path: Path, model: torch.nn.Module) -> None:
    """Write the state dict of ``model`` as safetensors, whole or not at all."""
    # Copies, since safetensors refuses tensors that share memory, as tied weights do.
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    with whole_file(path) as temporary:
        save_file(state, temporary)

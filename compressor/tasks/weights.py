"""Weights from a file into a network; only tensors are read, and no code in it is run."""

import pickle  # for the name of its error only
import re
import tarfile
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.tasks.head import State as State
from compressor.tasks.head import only_head_differs

PREFIXES = ("module.", "_orig_mod.")
"""What ``DataParallel`` and ``torch.compile`` put before every name."""

COUNTER = "num_batches_tracked"
"""Batches that a norm has seen: networks saved before PyTorch 0.4.1 lack it."""


@dataclass(frozen=True)
class Loaded:
    """What became of a file of weights.

    Attributes:
        notices: What had to be done, a sentence each.
        new_head: Tensors of the network that the file has for another number of classes; they are
            as the network was built.
    """

    notices: tuple[str, ...]
    new_head: tuple[str, ...] = ()


def no_head() -> tuple[str, ...]:
    """Says that no tensor may differ."""
    return ()


def load_weights(model: nn.Module, path: Path) -> tuple[str, ...]:
    """Load a state dict into ``model``, whole; what had to be done for it, a sentence each.

    Raises:
        ModelError: As ``load_body``, and for another number of classes.
    """
    return load_body(model, path, no_head).notices


def load_body(model: nn.Module, path: Path, find_head: Callable[[], Collection[str]]) -> Loaded:
    """Load a state dict into ``model``; a head for another number of classes stays as built.

    Read are safetensors and what ``torch.save`` writes, now or formerly, saved on any device: the
    state dict itself, or a dictionary with just one in it. A prefix that all names have
    (``module.``) is taken off, floating-point numbers are cast to the network's type, of tied
    tensors one is enough, and the batches that norms have seen may be missing.

    Raises:
        ModelError: No such file, a file that holds something else or is damaged, or other names,
            shapes or kinds of numbers. The network is then as it was.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there are no weights. Give a .safetensors or .pth file.")
    wanted = model.state_dict(keep_vars=True)
    given, unwrapped = _state_dict(path, _read(path))
    given, bare = _without_prefix(path, given, wanted)
    given = _with_ties(given, wanted)
    given, new_head, replaced = _without_head(path, given, wanted, find_head)
    _check_fit(path, wanted, given)
    model.load_state_dict({name: given.get(name, value.detach()) for name, value in wanted.items()})
    return Loaded((*unwrapped, *bare, *replaced, *_casts(path, wanted, given)), new_head)


def _without_head(
    path: Path, given: State, wanted: State, find_head: Callable[[], Collection[str]]
) -> tuple[State, tuple[str, ...], tuple[str, ...]]:
    """``given`` with the network's own head if only that differs; its names, and a sentence."""
    if all(given[n].shape == value.shape for n, value in wanted.items() if n in given):
        return given, (), ()
    head = tuple(find_head())
    if not head or not only_head_differs(wanted, given, head):
        return given, (), ()
    theirs, ours = given[head[0]].shape[0], wanted[head[0]].shape[0]
    notice = (
        f"{path} tells {theirs} classes apart and the data has {ours}: the head "
        f"({', '.join(head)}) is new and knows nothing yet."
    )
    return {**given, **{name: wanted[name].detach() for name in head}}, head, (notice,)


def _read(path: Path) -> Any:
    """What the file holds; its content decides how it is read, not its name."""
    try:
        return _reader(path)(path)
    except ModelError:
        raise
    except Exception as failure:  # a damaged file makes its reader fail in any way there is
        raise _not_plain(path, _reason(failure)) from failure


def _reader(path: Path) -> Callable[[Path], Any]:
    with path.open("rb") as file:
        head = file.read(9)
    # First, since the length that a safetensors file begins with may look like a pickle.
    fits = int.from_bytes(head[:8], "little") < path.stat().st_size
    if head[8:] == b"{" and (fits or head[:1] != b"\x80"):
        return safetensors.torch.load_file
    if head[:1] == b"\x80":
        return _unpickled
    if head[:4] == b"PK\x03\x04":
        return _unzipped
    if tarfile.is_tarfile(path):
        raise _not_plain(path, "it is a tar archive, as only very old releases of PyTorch wrote")
    raise _not_plain(path, "it is neither safetensors nor written by torch.save")


def _unzipped(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in names:
        raise _not_plain(path, "it is a TorchScript program")
    if "data.pkl" not in names:
        raise _not_plain(path, "it is a zip archive of something else")
    return _unpickled(path)


def _unpickled(path: Path) -> Any:
    # From a path torch.load would look at the name.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on pickle protocols, of files that fail or load
        # weights_only builds tensors and plain containers, and refuses to call anything else.
        return torch.load(file, map_location="cpu", weights_only=True)


def _reason(failure: Exception) -> str:
    called = re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(failure))
    if isinstance(failure, pickle.UnpicklingError) and called:
        return f"beside tensors it holds {called[1]}, which would run code and was not loaded"
    if isinstance(failure, PermissionError):
        return "it may not be read"
    return "it is damaged or cut off"


def _state_dict(path: Path, content: Any) -> tuple[State, tuple[str, ...]]:
    """The one state dict in ``content``, and a sentence if it had to be looked for."""
    if _is_state(content):
        return content, ()
    if not isinstance(content, Mapping):
        raise _not_plain(path, f"it holds a {type(content).__name__}")
    inner = [key for key, value in content.items() if _is_state(value)]
    if len(inner) > 1:
        raise _not_plain(path, f"it holds several networks ({', '.join(map(str, inner))})")
    if not inner:
        kinds = Counter(type(value).__name__ for value in content.values())
        held = ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "nothing"
        raise _not_plain(path, f"it holds {held}, and no dictionary of tensors")
    rest = ", ".join(str(key) for key in content if key != inner[0]) or "nothing"
    return content[inner[0]], (f"{path}: took {inner[0]!r}; left out: {rest}.",)


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _without_prefix(path: Path, given: State, wanted: State) -> tuple[State, tuple[str, ...]]:
    """Names without a prefix that all of them have and the network's have not."""
    for prefix in PREFIXES:
        foreign = not any(name.startswith(prefix) for name in wanted)
        if foreign and all(name.startswith(prefix) for name in given):
            bare = {name.removeprefix(prefix): value for name, value in given.items()}
            return bare, (f"{path}: took {prefix!r} off all {len(bare)} names.",)
    return given, ()


def _with_ties(given: State, wanted: State) -> State:
    """``given``, where a tensor that the network ties to a given one stands under its name too."""
    owners: dict[int, str] = {}
    for name, value in wanted.items():
        if name in given:
            owners.setdefault(id(value), name)
    ties = {n: given[owners[id(value)]] for n, value in wanted.items() if id(value) in owners}
    return {**ties, **given}


def _check_fit(path: Path, wanted: State, given: State) -> None:
    others = [text for name in wanted if name in given if (text := _other(name, wanted, given))]
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    unknown = [name for name in given if name not in wanted]
    split = _split_ties(wanted, given)
    misfits = (
        others
        + split
        + [f"the file has no {name}" for name in missing]
        + [f"the network has no {name}" for name in unknown]
    )
    if not misfits:
        return
    more = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
    fitting = sum(name in given for name in wanted) - len(others)
    raise ModelError(
        f"{path} is not for this network: {misfits[0]}{more}. Of the network's {len(wanted)} "
        f"tensors {fitting} fit, {len(others)} are of another shape or type and {len(missing)} "
        f"are missing; {len(unknown)} in the file are unknown{_examples(missing, unknown)}. "
        "Use the weights of the same architecture and number of classes."
    )


def _examples(missing: list[str], unknown: list[str]) -> str:
    """The first names on both sides, which tell a renamed layer from another network."""
    if not missing or not unknown:
        return ""
    return f" (such as {unknown[0]}, where the network has {missing[0]})"


def _other(name: str, wanted: State, given: State) -> str | None:
    """How the shape or the kind of numbers of one tensor differs, or None."""
    ours, theirs = wanted[name], given[name]
    if theirs.shape != ours.shape:
        return (
            f"{name} has shape {tuple(theirs.shape)} in the file and {tuple(ours.shape)} in the "
            "network"
        )
    if _kind(theirs) != _kind(ours) or theirs.layout != torch.strided:
        return f"{name} is {_type(theirs)} in the file and {_type(ours)} in the network"
    return None


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    return "float" if tensor.is_floating_point() else "whole"


def _type(tensor: Tensor) -> str:
    sparse = "" if tensor.layout == torch.strided else "sparse "
    return sparse + str(tensor.dtype).removeprefix("torch.")


def _split_ties(wanted: State, given: State) -> list[str]:
    """Tensors that the network ties and the file has apart."""
    tied: dict[int, list[str]] = defaultdict(list)
    for name, value in wanted.items():
        if name in given:
            tied[id(value)].append(name)
    return [
        f"{first} and {name} are one tensor in the network and two different ones in the file"
        for first, *names in tied.values()
        for name in names
        if given[name].shape == given[first].shape and not torch.equal(given[name], given[first])
    ]


def _casts(path: Path, wanted: State, given: State) -> tuple[str, ...]:
    pairs = Counter(
        (_type(given[name]), _type(value))
        for name, value in wanted.items()
        if name in given and given[name].dtype != value.dtype
    )
    return tuple(
        f"{path}: cast {number} tensors from {theirs} to {ours}."
        for (theirs, ours), number in pairs.items()
    )


def _not_plain(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a file of plain weights: {why}. Save model.state_dict() as .safetensors."
    )

"""A ticket as one safetensors file: written, and read back checked before anything of it is used.

Its hashes tell damage, not malice. The network's source stands in the file and is executed where
the ticket is read without a network, so read only tickets of people whose code you would run.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compressor.errors import CheckError, ModelError
from compressor.files import whole_file
from compressor.package.manifest import ARCHITECTURE
from compressor.strip.apply import apply
from compressor.strip.plan import StripPlan
from compressor.structure import Structure
from compressor.tasks.model import build_model
from compressor.tickets.head import ANEW, KEY, Head, read_head

INITIAL, FOUND, MASKS = "initial/", "found/", "masks/"
"""What tensor names begin with: weights that the search started from, those it found, masks."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Ticket:
    """A ticket in memory.

    Attributes:
        head: What the file says.
        structure: Which units stay.
        plan: The cuts that leave them, of a network at full width.
        initial: The slim network with the weights that the search started from, on the CPU.
        found: The slim network with those that it found; norm statistics are those of the search.
        masks: Which single weights of the slim networks stay; None where the method keeps units.
    """

    head: Head
    structure: Structure
    plan: StripPlan
    initial: nn.Module
    found: nn.Module
    masks: Structure | None


def tensors_of(initial: nn.Module, found: nn.Module, masks: Structure | None) -> dict[str, Tensor]:
    """The tensors of a ticket file, each with memory of its own, as the format wants them."""
    kept = {} if masks is None else masks.keep
    parts = ((INITIAL, initial.state_dict()), (FOUND, found.state_dict()), (MASKS, kept))
    return {
        f"{prefix}{name}": value.detach().cpu().contiguous().clone()
        for prefix, part in parts
        for name, value in part.items()
    }


def tensors_sha256(tensors: Tensors) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of all tensors, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_file(path: Path, head: Head, tensors: Tensors) -> None:
    """Write a ticket, whole or not at all; equal tickets are equal files."""
    with whole_file(path) as temporary:
        save_file(dict(tensors), temporary, metadata={KEY: head.to_text()})


def read_ticket(path: str | os.PathLike[str], network: nn.Module | None = None) -> Ticket:
    """The ticket in a file; its head and tensors are held against their hashes first.

    Args:
        path: The file.
        network: The network at full width, which is not touched; then no code of the file is run.
            None has the network built by its source in the file, or by the library that it names.

    Raises:
        ModelError: No such file, no ticket, one of another release, or of another architecture
            than what is built or given here.
        CheckError: It was changed.
        StripError: Its plan does not fit the network.
    """
    place = os.fspath(path)
    head, tensors = _checked(Path(path))
    plan = StripPlan.from_json(head.plan)
    structure = Structure.from_json(head.structure)
    with tempfile.TemporaryDirectory() as folder:
        full = _built(head, Path(folder)) if network is None else network
        # Inside, since the layers of a captured graph may read their source.
        initial, found = (
            _filled(apply(plan, full), _part(tensors, prefix), place) for prefix in (INITIAL, FOUND)
        )
    masks = None if head.masks is None else Structure(_part(tensors, MASKS), head.masks)
    return Ticket(head, structure, plan, initial.eval(), found.eval(), masks)


def _checked(path: Path) -> tuple[Head, Tensors]:
    if not path.is_file():
        raise ModelError(f"{path}: there is no ticket. Write one with `compressor ticket RUN`.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            head = read_head(text, str(path))
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError) as failure:
        raise ModelError(
            f"{path} is not a ticket: {failure}. Give a file of `compressor ticket RUN`."
        ) from failure
    if tensors_sha256(tensors) != head.tensors_sha256:
        raise CheckError(f"{path}: the tensors are not those that were written. {ANEW}")
    return head, tensors


def _part(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _built(head: Head, folder: Path) -> nn.Module:
    if head.source is not None:
        (folder / ARCHITECTURE).mkdir()
        place = folder / ARCHITECTURE / Path(head.source.name).name
        place.write_text(head.source.text, encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head.seed)
        return build_model(head.model, head.num_classes, head.in_channels, (folder,))


def _filled(slim: nn.Module, state: Tensors, place: str) -> nn.Module:
    """``slim`` with the weights of ``state``.

    Raises:
        ModelError: They are of another network.
    """
    shapes = {name: tuple(value.shape) for name, value in slim.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(shapes.keys() | given.keys()):
        if shapes.get(name) != given.get(name):
            raise ModelError(
                f"{place} is of another architecture: {name} is "
                f"{given.get(name, 'not there')} in the ticket and "
                f"{shapes.get(name, 'not there')} in the network. Give the network that it was "
                "made from, or install the libraries that its head names."
            )
    slim.load_state_dict(dict(state))
    return slim

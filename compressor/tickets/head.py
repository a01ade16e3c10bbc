"""What a ticket file says beside its tensors: one JSON text in the head of the safetensors file."""

import json
from typing import Any, Literal

from pydantic import ValidationError

from compressor.errors import CheckError, ModelError
from compressor.files import fingerprint
from compressor.settings import Settings
from compressor.structure import Granularity
from compressor.tasks.model import ModelSettings

KEY = "compressor-ticket"
"""Of the head's text. There is only one: several have no fixed order in such a file."""

FORMAT, VERSION = "compressor ticket", 1

ANEW = "Get the ticket anew."


class Source(Settings):
    """The Python file that builds the network at full width."""

    name: str
    text: str


class Head(Settings):
    """What a ticket says of itself; plain values only."""

    format: Literal["compressor ticket"] = "compressor ticket"
    version: Literal[1] = 1
    recipe: str
    """Name of the recipe."""
    method: str
    """What found the structure."""
    model: ModelSettings
    """How the network is built at full width; a file is ``source``."""
    seed: int
    """Of the built network: buffers that are not saved may be random."""
    num_classes: int
    in_channels: int
    image_shape: tuple[int, int, int]
    """Channels, height, width of what it was found on."""
    source: Source | None
    """None where a library builds the network."""
    libraries: dict[str, str]
    """Versions of what builds it."""
    structure: dict[str, Any]
    """Which units stay, as in ``structure.json``."""
    plan: dict[str, Any]
    """How they are cut, as in ``plan.json``."""
    masks: Granularity | None
    """Of the masks of single weights; None where the method keeps units."""
    certificate: dict[str, float]
    """How far the found slim network is from the masked one, in float32 and in float64."""
    tensors_sha256: str
    """Over all tensors of the file."""

    def to_text(self) -> str:
        """The only spelling of the head, its digest included."""
        value = self.model_dump(mode="json")
        return _text({"head": value, "digest": fingerprint(value)})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def read_head(text: str | None, place: str) -> Head:
    """What ``Head.to_text`` wrote.

    Args:
        text: Of the file's head; None where it has none.
        place: The file, for messages.

    Raises:
        ModelError: The file is no ticket, or one of another release.
        CheckError: It was changed.
    """
    if text is None:
        raise ModelError(
            f"{place} holds tensors and is not a ticket. Write one with `compressor ticket RUN`."
        )
    try:
        written = json.loads(text)
        value, digest = written["head"], written["digest"]
        whole = digest == fingerprint(value) and text == _text(written)
        made_by = value["format"], value["version"]
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise CheckError(f"{place}: the head is not as it was written. {ANEW}")
    if made_by != (FORMAT, VERSION):
        raise ModelError(
            f"{place} is a {made_by[0]!r} of version {made_by[1]!r}, this release reads {FORMAT!r} "
            f"of version {VERSION}. Use the release that wrote it."
        )
    try:
        return Head.model_validate_json(json.dumps(value))
    except ValidationError as failure:
        fault = failure.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ModelError(
            f"{place}: {where}: {fault['msg']}. Use the release that wrote the ticket."
        ) from failure

"""What an ONNX file says of itself: its precision, and for which engines it was made.

A graph that is right for one engine is slow, or wrong, in another: ONNX Runtime runs the symmetric
int8 graph of TensorRT at a third of the speed, and on some processors it saturates. Nothing in the
graph says so, hence the note in the file's own metadata, which every runner reads first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import ModelError
from compressor.onnx_graph import onnx_module

PROFILE_KEY = "compressor.profile"
ENGINES_KEY = "compressor.engines"
ORIGIN_KEY = "compressor.float_sha256"
CALIBRATION_KEY = "compressor.calibration"

UNKNOWN = "fp32 of unknown origin"
"""What a file without the note is taken for; any engine may run it."""


@dataclass(frozen=True)
class FileProfile:
    """The note in a file.

    Attributes:
        name: The profile, a key of ``profiles.PROFILES``, or ``UNKNOWN``.
        engines: Those that may run the file; none is named where it is unknown.
        float_sha256: Of the float32 file that it was made from.
        calibration: How many images, by which method, ready for JSON; ``None`` if none were needed.
    """

    name: str
    engines: tuple[str, ...]
    float_sha256: str | None = None
    calibration: Mapping[str, Any] | None = None


def read_profile(path: Path) -> FileProfile:
    """The note in the file at ``path``; ``UNKNOWN`` where there is none.

    A file that is no ONNX has none either: what is wrong with it, the engine says better.

    Raises:
        MissingExtra: ONNX is not installed.
    """
    onnx = onnx_module("onnx")
    decode_error = onnx_module("google.protobuf.message").DecodeError
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except (OSError, decode_error):
        return FileProfile(UNKNOWN, ())
    notes = {entry.key: entry.value for entry in proto.metadata_props}
    if PROFILE_KEY not in notes:
        return FileProfile(UNKNOWN, ())
    calibration = notes.get(CALIBRATION_KEY)
    return FileProfile(
        notes[PROFILE_KEY],
        tuple(filter(None, notes.get(ENGINES_KEY, "").split(","))),
        notes.get(ORIGIN_KEY),
        json.loads(calibration) if calibration is not None else None,
    )


def note_profile_(proto: Any, profile: FileProfile) -> None:
    """Write the note into an ONNX ``ModelProto``, in place of an older one."""
    notes = {PROFILE_KEY: profile.name, ENGINES_KEY: ",".join(profile.engines)}
    if profile.float_sha256 is not None:
        notes[ORIGIN_KEY] = profile.float_sha256
    if profile.calibration is not None:
        notes[CALIBRATION_KEY] = json.dumps(dict(profile.calibration), sort_keys=True)
    ours = {PROFILE_KEY, ENGINES_KEY, ORIGIN_KEY, CALIBRATION_KEY}
    others = [entry for entry in proto.metadata_props if entry.key not in ours]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)
    for key, value in notes.items():
        proto.metadata_props.add(key=key, value=value)


def check_profile(path: Path, engine: str) -> None:
    """Refuse a file that was made for other engines than ``engine``.

    Raises:
        ModelError: Says for which it was made.
        MissingExtra: ONNX is not installed.
    """
    profile = read_profile(path)
    if profile.name == UNKNOWN or engine in profile.engines:
        return
    raise ModelError(
        f"{path} has the profile {profile.name}, made for {' or '.join(profile.engines)}, not for "
        f"{engine}. Run it there, or make a file of another profile from the same network."
    )

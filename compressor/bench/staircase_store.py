"""Times of layers that were measured before on this machine, in one JSON file."""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor.bench.environment import CPUINFO, cpu_model, isa_flags, read_or_none, version
from compressor.engines import ENGINES
from compressor.errors import RunError
from compressor.files import fingerprint, read_json, write_json
from compressor.strip.target import TargetSettings

VARIABLE = "COMPRESSOR_CACHE"
FOLDERS = {"darwin": "~/Library/Caches", "win32": "~/AppData/Local"}
FORMAT = 1
"""Goes up when layers are measured differently, so that old times are not read."""


def cache_folder() -> Path:
    """Folder for what can be made again: ``$COMPRESSOR_CACHE``, or the system's own for it."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return Path(FOLDERS.get(sys.platform, "~/.cache")).expanduser() / "compressor"


def machine(target: TargetSettings) -> dict[str, Any]:
    """All that a measured time holds for: processor, engine and its version, threads, precision."""
    cpuinfo = read_or_none(CPUINFO) or ""
    return {
        "format": FORMAT,
        "engine": target.engine,
        "version": version(ENGINES[target.engine].package),
        # Without a name times of one machine would pass for another's that shares the folder.
        "device": cpu_model(cpuinfo) or unnamed_processor(),
        "isa_flags": isa_flags(cpuinfo),
        "num_threads": target.num_threads,
        "precision": target.precision,
        "batch_size": target.batch_size,
    }


def unnamed_processor() -> str:
    """What tells a processor that has no name from others': its kind and the machine it is in."""
    return f"{platform.processor() or platform.machine()} of {platform.node()}"


class Store:
    """Milliseconds by the name of a layer's shape, for one machine.

    Args:
        path: The file; it may hold other machines too, and need not be there.
        key: What the times hold for, as ``machine`` says it.

    Raises:
        RunError: The file is there and is not one that this class wrote.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self._path, self._key, self._name = path, dict(key), fingerprint(dict(key))
        self.times: dict[str, float] = self._read().get(self._name, {}).get("ms", {})

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {}
        try:
            content = read_json(self._path)
            return {name: dict(entry) for name, entry in content.items()}
        except (ValueError, TypeError, AttributeError) as fault:
            raise RunError(
                f"{self._path} cannot be read ({type(fault).__name__}). It holds measured times of "
                "layers, which are measured again: delete it."
            ) from fault

    def add(self, times: Mapping[str, float]) -> None:
        """Keep more times, in the file too; what others wrote meanwhile stays."""
        self.times = {**self.times, **times}
        content = self._read()
        known = content.get(self._name, {}).get("ms", {})
        content[self._name] = {"key": self._key, "ms": {**known, **self.times}}
        write_json(self._path, content)

"""A run directory: stages that are done or not, a manifest of every file, a log of every event.

A stage writes into a folder of its own beside the finished ones and is renamed when complete, so a
finished stage is whole and an unfinished one is never taken for finished. A stage that was finished
with the same settings, from the same files, is not run again.
"""

import datetime
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressor.errors import RunError
from compressor.files import fingerprint, read_json, replace_folder, sha256, write_json

MANIFEST = "manifest.json"
LOG = "log.jsonl"
KEY_FILE = "stage.json"
CHECKPOINT = "checkpoint"
"""Folder, inside a stage's unfinished one, that goes when the stage is done."""


class Run:
    """One run directory.

    ``manifest.json`` holds for each stage its key (a hash of its settings and of the keys of the
    stages it is made from), the seconds it took, and sha256 and bytes of each of its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stages: dict[str, Any] = self._read_manifest()
        except (NotADirectoryError, FileExistsError, PermissionError) as failure:
            raise RunError(
                f"{folder}: the run directory cannot be made ({failure.strerror}). "
                "Give another one with --out."
            ) from failure

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        if not path.exists():
            return {}
        try:
            stages: dict[str, Any] = read_json(path)["stages"]
        except (json.JSONDecodeError, KeyError) as failure:
            raise RunError(
                f"{path} is damaged ({failure}). Delete it to run every stage again."
            ) from failure
        return stages

    def reread(self) -> None:
        """Take up what another process has finished since."""
        self._stages = self._read_manifest()

    def clear(self, stage: str) -> None:
        """Remove an unfinished attempt."""
        shutil.rmtree(self.partial(stage), ignore_errors=True)

    def key(self, settings: Any, made_from: Sequence[str]) -> str:
        """Key of a stage with these settings, made from these (finished) stages."""
        return fingerprint(
            {"settings": settings, "made_from": [self._key_of(s) for s in made_from]}
        )

    def _key_of(self, stage: str) -> str:
        if stage not in self._stages:
            raise RunError(
                f"{self.folder}: stage {stage} is not done. Run it first: `compressor {stage}`."
            )
        key: str = self._stages[stage]["key"]
        return key

    def is_done(self, stage: str, key: str) -> bool:
        """Whether the stage was finished with this key and its files are as they were."""
        entry = self._stages.get(stage)
        if entry is None or entry["key"] != key:
            return False
        return all(
            (self.folder / name).is_file() and sha256(self.folder / name) == file["sha256"]
            for name, file in entry["files"].items()
        )

    def was_started(self, stage: str, key: str) -> bool:
        """Whether an unfinished attempt at the stage with this key lies there."""
        note = self.partial(stage) / KEY_FILE
        return note.is_file() and read_json(note)["key"] == key

    def partial(self, stage: str) -> Path:
        """Folder of an unfinished attempt."""
        return self.folder / f".{stage}.partial"

    @contextmanager
    def writing(self, stage: str, key: str, made_from: Sequence[str]) -> Iterator[Path]:
        """Give the stage's unfinished folder; when the block ends well, the stage is done.

        What an earlier attempt with the same key left there (checkpoints) is kept, anything else is
        cleared first.
        """
        partial = self.partial(stage)
        if not self.was_started(stage, key):
            shutil.rmtree(partial, ignore_errors=True)
            write_json(partial / KEY_FILE, {"key": key})
        started = time.monotonic()
        spent = read_json(partial / KEY_FILE).get("seconds", 0.0)
        try:
            yield partial
        finally:
            seconds = spent + time.monotonic() - started
            if partial.is_dir():
                write_json(partial / KEY_FILE, {"key": key, "seconds": seconds})
        (partial / KEY_FILE).unlink()
        shutil.rmtree(partial / CHECKPOINT, ignore_errors=True)
        replace_folder(partial, self.folder / stage)
        self._finish(stage, key, made_from, seconds)

    def _finish(self, stage: str, key: str, made_from: Sequence[str], seconds: float) -> None:
        files = sorted(path for path in (self.folder / stage).rglob("*") if path.is_file())
        self._stages[stage] = {
            "key": key,
            "made_from": list(made_from),
            "seconds": round(seconds, 3),
            "files": {
                str(path.relative_to(self.folder)): {
                    "sha256": sha256(path),
                    "bytes": path.stat().st_size,
                }
                for path in files
            },
        }
        write_json(self.folder / MANIFEST, {"stages": self._stages})

    def seconds(self) -> dict[str, float]:
        """Seconds that each finished stage took."""
        return {stage: entry["seconds"] for stage, entry in self._stages.items()}

    def log(self, event: str, fields: dict[str, Any]) -> None:
        """Append one event to the log, with the time in UTC."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **fields})
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def path(self, stage: str, name: str) -> Path:
        """A file of a finished stage.

        Raises:
            RunError: It is not there.
        """
        path = self.folder / stage / name
        if not path.is_file():
            raise RunError(f"{path}: there is no such file. Run the stage: `compressor {stage}`.")
        return path

"""A run directory: stages that are done or not, a manifest of every file, a log of every event.

A stage writes into a folder of its own beside the finished ones and is renamed when complete, so a
finished stage is whole and an unfinished one is never taken for finished. A stage that was finished
with the same settings, from the same files, is not run again.
"""

import datetime
import errno
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressor.errors import RunError
from compressor.files import (
    append_line,
    fingerprint,
    read_json,
    replace_folder,
    sha256,
    share_file,
    write_json,
)

MANIFEST = "manifest.json"
LOG = "log.jsonl"
LOCK = ".compressor.lock"
"""Also marks a folder as a run directory, should its manifest be lost."""
KEY_FILE = "stage.json"
TIMED = ("history.json",)
"""Files that hold speeds, which differ between equal runs; later stages are not made from them."""
CHECKPOINT = "checkpoint"
"""Folder, inside a stage's unfinished one, that goes when the stage is done."""


class Run:
    """One run directory.

    ``manifest.json`` holds for each stage its key (a hash of its settings and of the keys of the
    stages it is made from), the seconds it took, and sha256 and bytes of each of its files.
    """

    def __init__(self, folder: Path) -> None:
        """Open the run in ``folder``, or start one there.

        Raises:
            RunError: The folder cannot be used, holds something else, or its manifest is damaged.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A stage replaces the folder of its name, so nobody's own folders may lie there.
            if not (folder / MANIFEST).exists():
                self._refuse_strangers()
                write_json(folder / MANIFEST, {"stages": {}})
        except OSError as failure:
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunError(
                f"{folder}: the run directory cannot be made ({failure.strerror}). "
                "Give another one with --out."
            ) from failure
        self._stages: dict[str, Any] = self._read_manifest()

    def _refuse_strangers(self) -> None:
        if (self.folder / LOCK).exists():
            return
        found = sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))
        if found:
            raise RunError(
                f"{self.folder}: the folder holds {found[0]} and is not a run directory. "
                "Give a new or empty one with --out."
            )

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        try:
            stages = read_json(path)["stages"]
            whole = all({"key", "seconds", "files"} <= set(entry) for entry in stages.values())
        except (ValueError, KeyError, TypeError, AttributeError) as failure:
            raise RunError(f"{path} is damaged. Delete it to run every stage again.") from failure
        except OSError as failure:
            raise RunError(f"{path} cannot be read: {failure.strerror}. Mend that.") from failure
        if not whole:
            raise RunError(f"{path} is damaged. Delete it to run every stage again.")
        return dict(stages)

    def reread(self) -> None:
        """Take up what another process has finished since."""
        self._stages = self._read_manifest()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the directory; the system lets go of the lock if we are killed.

        Raises:
            RunError: Another run is working there.
        """
        with (self.folder / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as failure:
                raise RunError(
                    f"{self.folder}: another run is working in this directory. "
                    "Wait for it, or give another directory with --out."
                ) from failure
            except OSError as failure:
                if failure.errno not in (errno.ENOLCK, errno.ENOTSUP):
                    raise
                # Some network file systems have no locks; then nothing guards the directory.
            yield

    def clear(self, stage: str) -> None:
        """Remove an unfinished attempt."""
        shutil.rmtree(self.partial(stage), ignore_errors=True)

    def key(self, settings: Any, made_from: Sequence[str]) -> str:
        """Key of a stage with these settings, made from these (finished) stages.

        Raises:
            RunError: One of them is not done.
        """
        return fingerprint(
            {"settings": settings, "made_from": [self._key_of(s) for s in made_from]}
        )

    def _key_of(self, stage: str) -> str:
        if stage not in self._stages:
            raise RunError(
                f"{self.folder}: stage {stage} is not done. Run it first: `compressor {stage}`."
            )
        entry = self._stages[stage]
        files = {n: f["sha256"] for n, f in entry["files"].items() if Path(n).name not in TIMED}
        return fingerprint([entry["key"], files])

    def was_finished(self, stage: str, key: str) -> bool:
        """Whether the stage was once finished with this key."""
        return stage in self._stages and self._stages[stage]["key"] == key

    def changed_files(self, stage: str) -> list[str]:
        """Files of a finished stage that are gone or are not what it wrote."""
        return [
            name
            for name, file in self._stages[stage]["files"].items()
            if not (self.folder / name).is_file() or sha256(self.folder / name) != file["sha256"]
        ]

    def is_done(self, stage: str, key: str) -> bool:
        """Whether the stage was finished with this key and its files are as they were."""
        return self.was_finished(stage, key) and not self.changed_files(stage)

    def was_started(self, stage: str, key: str) -> bool:
        """Whether an unfinished attempt at the stage with this key lies there."""
        note = self.partial(stage) / KEY_FILE
        return note.is_file() and read_json(note)["key"] == key

    def partial(self, stage: str) -> Path:
        """Folder of an unfinished attempt."""
        return self.folder / f".{stage}.partial"

    @contextmanager
    def writing(
        self, stage: str, key: str, made_from: Sequence[str], on_top: Sequence[str] = ()
    ) -> Iterator[Path]:
        """Give the stage's unfinished folder; when the block ends well, the stage is done.

        The checkpoint that an earlier attempt with the same key left there is kept, anything else
        is cleared first.

        Args:
            stage: Its name, and that of its folder.
            key: What ``key`` said.
            made_from: Stages whose files it reads.
            on_top: Files that it writes into the run directory itself.
        """
        partial = self.partial(stage)
        spent = self._go_on(partial) if self.was_started(stage, key) else self._start(stage)
        write_json(partial / KEY_FILE, {"key": key, "seconds": spent})
        started = time.monotonic()
        try:
            yield partial
        finally:
            seconds = spent + time.monotonic() - started
            if partial.is_dir():
                write_json(partial / KEY_FILE, {"key": key, "seconds": seconds})
        entry = {
            "key": key,
            "made_from": list(made_from),
            "seconds": round(seconds, 3),
            "files": self._files(stage, on_top),
        }
        # From here to the new manifest a kill costs the stage, so only what is quick comes here.
        (partial / KEY_FILE).unlink()
        shutil.rmtree(partial / CHECKPOINT, ignore_errors=True)
        if any(partial.iterdir()):
            replace_folder(partial, self.folder / stage)
        else:
            partial.rmdir()
        self._stages[stage] = entry
        write_json(self.folder / MANIFEST, {"stages": self._stages})

    def _start(self, stage: str) -> float:
        self.clear(stage)
        self.partial(stage).mkdir()
        return 0.0

    def _go_on(self, partial: Path) -> float:
        """Clear what a killed attempt left beside its checkpoint; the seconds it had taken."""
        spent: float = read_json(partial / KEY_FILE).get("seconds", 0.0)
        for path in partial.iterdir():
            if path.is_dir() and path.name != CHECKPOINT:
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file() and path.name != KEY_FILE:
                path.unlink()
        return spent

    def _files(self, stage: str, on_top: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Sha256 and bytes of each file of an unfinished stage, under its final name."""
        partial = self.partial(stage)
        inside = sorted(
            path.relative_to(partial)
            for path in partial.rglob("*")
            if path.is_file() and path.relative_to(partial).parts[0] not in (KEY_FILE, CHECKPOINT)
        )
        places = {str(Path(stage) / name): partial / name for name in inside}
        places |= {name: self.folder / name for name in on_top}
        return {
            name: {"sha256": sha256(path), "bytes": path.stat().st_size}
            for name, path in places.items()
        }

    def take_over(self, other: "Run", stages: Sequence[str]) -> None:
        """Have what ``other`` has of ``stages``, as if it had been done here; files are shared.

        Raises:
            RunError: One of them is not done there, or its files are not as it wrote them.
        """
        for stage in stages:
            other._key_of(stage)
            if changed := other.changed_files(stage):
                raise RunError(
                    f"{other.folder / changed[0]} is not as {stage} wrote it. Run {stage} again "
                    f"with --out {other.folder}."
                )
            entry = other._stages[stage]
            if self._stages.get(stage) == entry and not self.changed_files(stage):
                continue
            shutil.rmtree(self.folder / stage, ignore_errors=True)
            for name in entry["files"]:
                share_file(other.folder / name, self.folder / name)
            self._stages[stage] = entry
            write_json(self.folder / MANIFEST, {"stages": self._stages})

    def seconds(self) -> dict[str, float]:
        """Seconds that each finished stage took."""
        return {stage: entry["seconds"] for stage, entry in self._stages.items()}

    def log(self, event: str, fields: dict[str, Any]) -> None:
        """Append one event to the log, with the time in UTC."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        append_line(self.folder / LOG, json.dumps({"time": now, "event": event, **fields}))

    def path(self, stage: str, name: str) -> Path:
        """A file of a finished stage.

        Raises:
            RunError: It is not there.
        """
        path = self.folder / stage / name
        if not path.is_file():
            raise RunError(f"{path}: there is no such file. Run the stage: `compressor {stage}`.")
        return path

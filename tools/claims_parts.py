"""What is run for the claims: parts, each a function of a seed, and the shelf that keeps them."""

import importlib
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from claims_sources import ROOT, files_behind

from compressor.errors import CompressorError
from compressor.files import fingerprint, read_json, sha256, write_json
from compressor.time_limit import TimeOver, within

PACKAGES = ("torch", "numpy", "scikit-learn", "mnist1d")
QUICK_EFFORT = 0.1
"""Share of the epochs, or steps, of a quick look."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Something that is run once for each seed, and serves one claim or several.

    Attributes:
        name: Of its files.
        function: ``module:function``, which takes the seed and the effort in (0, 1].
        seeds: How many are run unless somebody says otherwise.
        seconds: Where a run is stopped, by the clock.
        files: Of the project, beside what its module imports.
    """

    name: str
    function: str
    seeds: int = 3
    seconds: float = 1800.0
    files: tuple[str, ...] = ()

    def run(self, seed: int, effort: float) -> Figures:
        """The figures of one seed."""
        module, name = self.function.split(":")
        figures: Figures = getattr(importlib.import_module(module), name)(seed, effort)
        return figures


NET = ("models/plain.py",)

PARTS = {
    part.name: part
    for part in (
        Part("path", "claims_paths:follow", files=NET),
        Part("tickets", "claims_paths:tickets", seeds=5, files=NET),
        Part("transfer", "claims_paths:transfer", files=NET),
        Part("descent", "claims_descent:descend"),
        Part("supermask", "claims_masks:supermask", seconds=3600.0),
        Part("exploration", "claims_masks:exploration", seconds=7200.0),
        Part("gates", "claims_gates:gates", files=NET),
        Part("grow", "claims_growing:grown", files=NET),
        Part("resume", "claims_resume:resume", files=NET),
    )
}


def versions() -> dict[str, str]:
    """Version of each library that has a say, where it is installed."""
    found = {distribution.name.lower() for distribution in metadata.distributions()}
    return {name: metadata.version(name) for name in PACKAGES if name in found}


@dataclass(frozen=True)
class Outcome:
    """What became of one part and seed.

    Attributes:
        figures: None where there are none.
        reason: Why not.
        seconds: Of one processor, which is what it takes on a machine with nothing else to do.
    """

    figures: Figures | None
    reason: str = ""
    seconds: float = 0.0


class Shelf:
    """The folder with one file for each part and seed; runs what is missing or out of date."""

    def __init__(self, folder: Path, effort: float) -> None:
        self._folder, self._effort = folder, effort

    def outcome(self, part: Part, seed: int) -> Outcome:
        """The figures from their file if that is up to date, else from a run."""
        if (kept := self.kept(part, seed)) is not None:
            return kept
        # Before it runs: what is changed meanwhile was not run.
        key, began = self._key(part, seed), time.process_time()
        try:
            figures = within(part.seconds, lambda: part.run(seed, self._effort))
        except TimeOver:
            return Outcome(None, f"seed {seed} took more than {part.seconds:g} s")
        except CompressorError as failure:
            return Outcome(None, f"seed {seed}: {failure}")
        outcome = Outcome(figures, seconds=round(time.process_time() - began, 1))
        kept_as = {"key": key, "seconds": outcome.seconds, "figures": figures}
        write_json(self._file(part, seed), kept_as)
        return outcome

    def kept(self, part: Part, seed: int) -> Outcome | None:
        """The figures if their file is there and up to date."""
        file = self._file(part, seed)
        if not file.exists():
            return None
        found = read_json(file)
        if found["key"] != self._key(part, seed):
            return None
        return Outcome(found["figures"], seconds=found["seconds"])

    def _file(self, part: Part, seed: int) -> Path:
        return self._folder / f"{part.name}-{seed}.json"

    def _key(self, part: Part, seed: int) -> str:
        files = [*files_behind(part.function.split(":")[0]), *(ROOT / file for file in part.files)]
        sources = {str(file.relative_to(ROOT)): sha256(file) for file in files}
        run = [part.function, seed, self._effort]
        return fingerprint({"versions": versions(), "sources": sources, "run": run})

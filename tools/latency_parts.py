"""What the tool measures, piece by piece, and the shelf that keeps what is measured."""

import datetime
import importlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from claims_sources import ROOT, files_behind
from latency_timing import Figures, How

from compressor.bench.environment import environment
from compressor.errors import CompressorError
from compressor.files import fingerprint, read_json, sha256, write_json
from compressor.run import MANIFEST
from compressor.time_limit import TimeOver, within

PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy")

JOB_SECONDS = 1200.0
"""Where one measurement is given up, by the clock."""

MACHINE = ("cpu", "cores", "usable_cores", "isa_flags")
"""What times hold for, of what the environment says."""


@dataclass(frozen=True)
class Part:
    """One of the questions.

    Attributes:
        module: Whose ``measured`` takes a subject, a number of threads and ``How``.
        networks: Its subjects; None where the run is the subject.
    """

    module: str
    networks: tuple[str, ...] | None


PARTS = {
    "macs": Part("latency_macs", ("resnet18",)),
    "budget": Part("latency_budget", ("resnet18", "mobilenet_v2")),
    "chain": Part("latency_chain", None),
}


@dataclass(frozen=True)
class Job:
    """One measurement: a part, of a network or of the run in a folder, on so many threads."""

    part: str
    subject: str
    num_threads: int

    @property
    def name(self) -> str:
        """Of its file; the same for all runs."""
        of_run = PARTS[self.part].networks is None
        words = [self.part, *([] if of_run else [self.subject]), str(self.num_threads)]
        return "-".join(words)

    def run(self, how: How) -> Figures:
        """What was measured."""
        module = importlib.import_module(PARTS[self.part].module)
        figures: Figures = module.measured(self.subject, self.num_threads, how)
        return figures


def jobs(parts: Sequence[str], threads: Sequence[int], run: Path | None) -> list[Job]:
    """The measurements that belong to ``parts``."""
    return [
        Job(part, subject, num_threads)
        for part in parts
        for subject in PARTS[part].networks or (str(run),)
        for num_threads in threads
    ]


def versions() -> dict[str, str]:
    """Version of each library that has a say, without what says how it was built."""
    found = {distribution.name.lower() for distribution in metadata.distributions()}
    return {name: metadata.version(name).split("+")[0] for name in PACKAGES if name in found}


@dataclass(frozen=True)
class Outcome:
    """What became of one measurement.

    Attributes:
        figures: None where there are none.
        reason: Why not.
        began: Date and time in UTC.
        seconds: By the clock.
        others: Cores that other programs held meanwhile, on average.
    """

    figures: Figures | None
    reason: str = ""
    began: str = ""
    seconds: float = 0.0
    others: float = 0.0


class Shelf:
    """The folder with one file for each measurement; makes what is missing or out of date."""

    def __init__(self, folder: Path, rounds: int, max_seconds: float) -> None:
        self._folder, self._rounds, self._max_seconds = folder, rounds, max_seconds

    def outcome(self, job: Job) -> Outcome:
        """The figures from their file if that is up to date, else measured."""
        return self.kept(job) or self.measured(job)

    def kept(self, job: Job) -> Outcome | None:
        """The figures if their file is there and up to date."""
        file = self._file(job)
        if not file.exists():
            return None
        found = read_json(file)
        return Outcome(**found["outcome"]) if found["key"] == self._key(job) else None

    def measured(self, job: Job) -> Outcome:
        """The figures, measured now; kept unless there are none."""
        # Before it runs: what is changed meanwhile was not run.
        key, company = self._key(job), Company()
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            with self._layers(job, key) as layers:
                how = How(self._rounds, self._max_seconds, layers)
                figures = within(JOB_SECONDS, lambda: job.run(how))
        except TimeOver:
            return Outcome(None, f"it took more than {JOB_SECONDS:g} s")
        except CompressorError as failure:
            return Outcome(None, str(failure))
        outcome = Outcome(figures, "", began, round(company.seconds(), 1), company.others())
        write_json(self._file(job), {"key": key, "outcome": vars(outcome)})
        return outcome

    def forget(self, job: Job) -> None:
        """Drop what is kept of a measurement, times of layers included."""
        self._file(job).unlink(missing_ok=True)
        self._forget_layers(job)

    @contextmanager
    def _layers(self, job: Job, key: str) -> Iterator[Path]:
        """A folder for times of single layers, gone when the measurement is done.

        Its own: those that somebody measured on a busy day would be taken for today's.
        """
        folder = self._folder / f"{job.name}-layers-{key[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        self._forget_layers(job)

    def _forget_layers(self, job: Job) -> None:
        for folder in self._folder.glob(f"{job.name}-layers-*"):
            shutil.rmtree(folder)

    def _file(self, job: Job) -> Path:
        return self._folder / f"{job.name}.json"

    def _key(self, job: Job) -> str:
        here, files = environment(), files_behind(PARTS[job.part].module)
        manifest = Path(job.subject) / MANIFEST
        return fingerprint(
            {
                "versions": versions(),
                "machine": {name: here[name] for name in MACHINE},
                "sources": {str(file.relative_to(ROOT)): sha256(file) for file in files},
                "job": [job.subject, job.num_threads, self._rounds, self._max_seconds],
                "run": sha256(manifest) if manifest.is_file() else None,
            }
        )


class Company:
    """How much of the machine other programs have had since this was made."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy(), time.process_time()

    def seconds(self) -> float:
        """How long that is."""
        return time.monotonic() - self._began

    def others(self) -> float:
        """Cores that others held, on average."""
        busy, own = _busy() - self._busy, time.process_time() - self._own
        return round(max(0.0, busy - own) / self.seconds(), 2)


def _busy() -> float:
    """Seconds that all processors together have worked."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - _guests(times))


def _guests(times: Any) -> float:
    # Linux counts these a second time under user and nice.
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))


def machine() -> dict[str, Any]:
    """What times hold for; no names of machines."""
    here = environment()
    return {name: here[name] for name in (*MACHINE, "governor", "gpu")}

"""Strip every classification and segmentation network of torchvision, and families of timm.

Weights are random and norm statistics shaken. Each network runs in a process of its own with one
thread: its couplings, certificates at half of the units and at random structures, a backward pass,
both ONNX exporters. What cannot be stripped is a row with its reason, never a failure of the whole.

Rows lie under ``runs/zoo`` and are kept while versions, sources and settings stay, so that the
survey goes on where it was stopped. The table is written to ``docs/zoo.md`` and ``docs/zoo.json``.
"""

import argparse
import difflib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from zoo_networks import NETWORKS, Network
from zoo_page import about, as_markdown, in_short

from compressor.files import fingerprint, read_json, sha256, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "compressor/couplings/*.py",
    "compressor/strip/*.py",
    "tools/zoo_measure.py",
    "tools/zoo_exporters.py",
)
"""Files whose change makes a row out of date."""

PACKAGES = ("torch", "torchvision", "timm", "torch-pruning", "onnx", "onnxscript", "onnxruntime")
POLL_SECONDS = 0.2

Row = dict[str, Any]


PATIENCE = 5.0
"""A process is stopped as well once it has stood for so many times its limit, working or not."""


STOPPED = threading.Event()
"""Set when somebody ends the survey: processes are stopped, and leave no row."""


@dataclass(frozen=True)
class Use:
    """What a process has used: seconds of the processor, seconds that passed, bytes of memory."""

    processor_seconds: float = 0.0
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Limits:
    """Where a process is stopped; seconds are those of the processor, whatever else runs there."""

    seconds: float
    bytes: float

    def passed(self, use: Use) -> str | None:
        """Which of the limits is passed, in words."""
        if use.processor_seconds > self.seconds:
            return f"more than {self.seconds:g} s of the processor"
        if use.seconds > self.seconds * PATIENCE:
            return f"more than {self.seconds * PATIENCE:g} s"
        if use.bytes > self.bytes:
            return f"more than {self.bytes / 1e9:g} GB"
        return None


@dataclass(frozen=True)
class Settings:
    """What is done with each network; part of each row's key."""

    engine: str
    check_seconds: float
    export: bool
    limits: Limits


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet and write the table; exit status 0 whatever is found."""
    parser = _parser()
    options = parser.parse_args(arguments)
    networks = chosen(parser, options.only)
    limits = Limits(options.seconds, options.gigabytes * 1e9)
    settings = Settings(options.engine, options.check_seconds, not options.no_export, limits)
    shelf = Shelf(options.rows, settings, keep_old=options.keep_old)
    if options.table:
        rows = [row for network in networks if (row := shelf.kept(network)) is not None]
    else:
        rows = _rows(shelf, networks, options.workers)
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        print("\n".join(in_short(row) for row in rows))
    # A table of some networks is not the published one.
    if not options.only:
        missing = sorted({network.name for network in networks} - {row["model"] for row in rows})
        about_it = about(versions(), asdict(settings), shelf.num_old(networks))
        table = {"about": about_it, "not_measured": missing, "rows": rows}
        write_json(options.docs / "zoo.json", table)
        write_text(options.docs / "zoo.md", as_markdown(table))
    return 0


def _rows(shelf: "Shelf", networks: Sequence[Network], workers: int) -> list[Row]:
    pool = ThreadPoolExecutor(workers)
    try:
        return list(pool.map(shelf.row, networks))
    except BaseException:
        STOPPED.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/zoo", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME,NAME", help="these networks, and no table in docs")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, nothing else")
    parser.add_argument(
        "--table", action="store_true", help="measure nothing: the table of the rows there are"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--seconds", type=float, default=180.0, help="its processor time, at most")
    parser.add_argument("--gigabytes", type=float, default=16.0, help="its memory, at most")
    parser.add_argument("--engine", default="both", help="coupling engine")
    parser.add_argument("--check-seconds", type=float, default=20.0, help="for torch-pruning")
    parser.add_argument("--no-export", action="store_true", help="leave the exporters out")
    parser.add_argument(
        "--keep-old", action="store_true", help="keep rows of older sources or other settings"
    )
    parser.add_argument("--rows", type=Path, default=ROOT / "runs" / "zoo", help="where rows lie")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the table goes")
    return parser


def chosen(parser: argparse.ArgumentParser, only: str | None) -> list[Network]:
    """The networks that were asked for; without a wish, all whose library is installed."""
    if only is None:
        return [network for network in NETWORKS.values() if network.installed]
    names = only.split(",")
    for name in names:
        if name not in NETWORKS:
            near = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0.0)
            parser.error(f"--only {name}: no such network. The nearest is {near[0]}.")
        if not NETWORKS[name].installed:
            parser.error(f"--only {name}: timm is missing. Install it: pip install timm")
    return [NETWORKS[name] for name in names]


def versions() -> dict[str, str]:
    """Version of each library that has a say, where it is installed."""
    found = {distribution.name.lower() for distribution in metadata.distributions()}
    return {name: metadata.version(name) for name in PACKAGES if name in found}


class Shelf:
    """The folder with one file per network; makes what is missing or out of date.

    Attributes:
        folder: Where the files lie.
    """

    def __init__(self, folder: Path, settings: Settings, *, keep_old: bool) -> None:
        self.folder, self._settings, self._keep_old = folder, settings, keep_old
        sources = {str(p.relative_to(ROOT)): sha256(p) for s in SOURCES for p in ROOT.glob(s)}
        self._base = {"versions": versions(), "sources": sources, "settings": asdict(settings)}

    def row(self, network: Network) -> Row:
        """The row of ``network``, from its file if that is up to date."""
        if (kept := self.kept(network)) is not None:
            return kept
        file = self._file(network)
        row = measured(network, self._settings, file.with_suffix(".partial"))
        if STOPPED.is_set():
            raise InterruptedError("the survey was ended")
        row["key"] = self._key(network)
        write_json(file, row)
        print(in_short(row), file=sys.stderr, flush=True)
        return row

    def kept(self, network: Network) -> Row | None:
        """The row of ``network`` if its file is there and up to date."""
        file = self._file(network)
        if not file.exists():
            return None
        row: Row = read_json(file)
        return row if self._keep_old or row["key"] == self._key(network) else None

    def num_old(self, networks: Sequence[Network]) -> int:
        """How many rows are there, and kept, that are not up to date."""
        there = [network for network in networks if self.kept(network) is not None]
        return sum(read_json(self._file(n))["key"] != self._key(n) for n in there)

    def _file(self, network: Network) -> Path:
        return self.folder / f"{network.name.replace(':', '-')}.json"

    def _key(self, network: Network) -> str:
        return fingerprint({**self._base, "network": asdict(network)})


def measured(network: Network, settings: Settings, partial: Path) -> Row:
    """The row of ``network``, made in a process of its own.

    Args:
        network: The network.
        settings: What is done with it, and the limits.
        partial: Where the process writes what it has so far; gone in the end.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    script = [sys.executable, str(Path(__file__).with_name("zoo_measure.py"))]
    command = [*script, network.name, str(partial), json.dumps(asdict(settings))]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What is typed to end the survey reaches the survey alone, which stops its processes.
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            seen = _watch(process, settings.limits)
        finally:
            process.kill()
    row: Row = {"model": network.name, "source": network.source, "pixels": network.pixels}
    row |= {"stripped": False, "reason": "", "max_rel_diff_fp32": None, "max_rel_diff_fp64": None}
    row |= {"onnx": {}, "place": "start"}
    if partial.exists():
        row |= read_json(partial)
        partial.unlink()
    if place := row.pop("place"):
        cause = seen.passed or f"the process ended with status {process.returncode}"
        row |= ended(row, f"{cause} at {place}")
        row |= {
            "seconds": round(seen.most.seconds, 2),
            "processor_seconds": round(seen.most.processor_seconds, 2),
            "peak_bytes": seen.most.bytes,
        }
    return row


@dataclass(frozen=True)
class Seen:
    """A process from outside: the limit it passed, if any, and the most that it used."""

    passed: str | None
    most: Use


def _watch(process: "subprocess.Popen[bytes]", limits: Limits) -> Seen:
    """Wait until the process ends or passes a limit."""
    began, passed, most = time.monotonic(), None, Use()
    while process.poll() is None and passed is None:
        if STOPPED.wait(POLL_SECONDS):
            raise InterruptedError("the survey was ended")
        try:
            looked_at = psutil.Process(process.pid)
            times, rss = looked_at.cpu_times(), looked_at.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        worked, waited = times.user + times.system, time.monotonic() - began
        most = Use(worked, waited, max(most.bytes, rss))
        passed = limits.passed(most)
    return Seen(passed, most)


def ended(row: Row, reason: str) -> Row:
    """What changes in a row whose process did not come to its end."""
    unfinished = {name for name, found in row["onnx"].items() if found.get("unfinished")}
    if unfinished:
        return {"onnx": {**row["onnx"], **dict.fromkeys(unfinished, {"reason": reason})}}
    return {"stripped": False, "reason": row["reason"] or reason}

"""Measure what stripping is worth in time on this machine, and write it down.

Three parts. ``macs``: a network at a quarter of its MACs, its widths rounded to what suits the
engine, to 8, and not at all: how much of the MACs ratio becomes latency. ``budget``: half of the
latency asked, and what came of it. ``chain``: the dense float32 network of a finished run in
PyTorch against its slim int8 file in ONNX Runtime, with what that costs in accuracy.

Everything that is compared takes turns in one process. Figures lie under ``runs/latency`` and are
kept while sources, versions, machine and settings stay, so that the tool goes on where it was
stopped. A whole measurement is written to ``docs/latency.md`` and ``docs/latency.json``. Exit
status 3 says that a condition does not hold, 1 that something could not be measured.
"""

import argparse
import datetime
import difflib
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claims_sources import ROOT
from latency_chain import opened
from latency_judge import Row, rows_of
from latency_page import as_markdown, in_short
from latency_parts import PARTS, Job, Outcome, Shelf, jobs, machine, versions

from compressor.bench.timer import MIN_ROUNDS
from compressor.errors import CompressorError
from compressor.files import write_json, write_text

ROUNDS, MAX_SECONDS = 300, 90.0
"""Of one comparison, unless somebody says otherwise."""

THREADS = (1, 2)
"""That a published table is of."""

FULL, ERROR, FAILED = 0, 1, 3
"""Exit status: all holds; something could not be measured; a condition does not hold."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, print the rows, write the table of a whole measurement."""
    parser = _parser()
    options = parser.parse_args(arguments)
    parts = wanted(parser, options.only)
    if options.run is None and "chain" in parts:
        parser.error("chain needs a finished run: --run RUN. Without one: --only macs,budget.")
    try:
        if "chain" in parts:
            opened(options.run)  # what is missing is told now, not after half an hour
    except CompressorError as failure:
        print(failure, file=sys.stderr)
        return failure.exit_status
    shelf = Shelf(options.kept, options.rounds, options.max_seconds)
    outcomes = {
        job: _told(job, shelf, again=options.again)
        for job in jobs(parts, sorted(set(options.threads)), options.run)
    }
    rows = [row for job, outcome in outcomes.items() for row in rows_of(job, outcome)]
    print(json.dumps({"rows": rows}, indent=2) if options.json else "\n".join(map(in_short, rows)))
    if _is_whole(options, parts):
        table = table_of(options, rows, outcomes)
        write_json(options.docs / "latency.json", table)
        write_text(options.docs / "latency.md", as_markdown(table))
    return status_of(rows)


def _told(job: Job, shelf: Shelf, *, again: bool) -> Outcome:
    """What became of a measurement, told on stderr as it becomes known."""
    if again:
        shelf.forget(job)
    kept = shelf.kept(job)
    outcome = kept or shelf.measured(job)
    state = outcome.reason or ("kept" if kept else f"{outcome.seconds:.0f} s")
    print(f"latency: {job.name}: {state}", file=sys.stderr, flush=True)
    return outcome


def _is_whole(options: argparse.Namespace, parts: Sequence[str]) -> bool:
    """Whether this is the published table: all parts, all threads, no fewer rounds."""
    everything = set(parts) == set(PARTS) and set(THREADS) <= set(options.threads)
    return everything and options.rounds >= ROUNDS and options.max_seconds >= MAX_SECONDS


def table_of(
    options: argparse.Namespace, rows: Sequence[Row], outcomes: Mapping[Job, Outcome]
) -> dict[str, Any]:
    """All that is published."""
    return {
        "about": {
            "command": command_of(options),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "versions": {"python": platform.python_version(), **versions()},
            **machine(),
            "rounds": options.rounds,
            "max_seconds": options.max_seconds,
        },
        "rows": list(rows),
        "measurements": {
            job.name: {
                "began": outcome.began,
                "seconds": outcome.seconds,
                "others": outcome.others,
                "figures": outcome.figures,
            }
            for job, outcome in outcomes.items()
        },
    }


def command_of(options: argparse.Namespace) -> str:
    """The command line of a whole measurement; where the run lies is of no use to others."""
    limits = ("rounds", ROUNDS), ("max_seconds", MAX_SECONDS)
    given = [
        word
        for name, usual in limits
        if (value := getattr(options, name)) != usual
        for word in (f"--{name.replace('_', '-')}", f"{value:g}")
    ]
    several = sorted(set(options.threads))
    threads = ["--threads", *map(str, several)] if several != list(THREADS) else []
    return shlex.join(["tools/latency", "--run", "RUN", *threads, *given])


def status_of(rows: Sequence[Row]) -> int:
    """The exit status that rows deserve; what failed is told on stderr."""
    failing = [row for row in rows if row["holds"] is False]
    for row in failing:
        print(in_short(row), file=sys.stderr)
    if failing:
        return FAILED
    return ERROR if any(row["reason"] for row in rows) else FULL


def wanted(parser: argparse.ArgumentParser, only: str | None) -> list[str]:
    """The parts that were asked for, in their order."""
    if only is None:
        return list(PARTS)
    names = only.split(",")
    for name in names:
        if name not in PARTS:
            near = difflib.get_close_matches(name, PARTS, n=1, cutoff=0.0)
            parser.error(f"--only {name}: there is no such part. The nearest is {near[0]}.")
    return [name for name in PARTS if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/latency", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="finished run with an int8 file, for chain")
    parser.add_argument("--only", metavar="macs,budget,chain", help="these, and no table in docs")
    parser.add_argument(
        "--threads", type=_at_least(1), nargs="+", default=list(THREADS), help="of the engines"
    )
    parser.add_argument(
        "--rounds", type=_at_least(MIN_ROUNDS), default=ROUNDS, help="timed runs of each network"
    )
    parser.add_argument(
        "--max-seconds", type=_seconds, default=MAX_SECONDS, help="for one comparison, at most"
    )
    parser.add_argument("--again", action="store_true", help="measure what is kept once more")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, nothing else")
    parser.add_argument(
        "--kept", type=Path, default=ROOT / "runs" / "latency", help="where figures are kept"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the table goes")
    return parser


def _at_least(least: int) -> Any:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return float(text)

"""The claims of the papers that the methods come from, each in an experiment of minutes on a CPU.

Every experiment runs over several seeds; a row says what was claimed, the condition under which it
holds, fixed beforehand, and what was measured. What does not hold is reported, and makes the exit
status 3.

Figures lie under ``runs/claims`` and are kept while sources, versions and settings stay, so that
the tool goes on where it was stopped. A full run writes ``docs/claims.md`` and
``docs/claims.json``.
"""

import argparse
import difflib
import json
import multiprocessing
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from claims_judge import Claim, Figures
from claims_list import CLAIMS
from claims_page import QUICK_NOTE, about, as_markdown, as_text
from claims_parts import PARTS, QUICK_EFFORT, Outcome, Shelf, versions
from claims_sources import ROOT

from compressor.files import write_json, write_text

Row = dict[str, Any]
Outcomes = dict[tuple[str, int], Outcome]

FULL, ERROR, FAILED = 0, 1, 3
"""Exit status: all holds; something could not be run; a claim does not hold. Wrong usage is 2."""

FEWEST_SEEDS = 3
"""With fewer a row says that it is weak evidence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not run yet, print the rows, and write the table of a full run."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = wanted(parser, options.only)
    effort, default_seeds = (QUICK_EFFORT, 1) if options.quick else (1.0, None)
    seeds = {
        claim.part: options.seeds or default_seeds or PARTS[claim.part].seeds for claim in chosen
    }
    shelf = Shelf(options.runs / "quick" if options.quick else options.runs, effort)
    outcomes = dict(_outcomes(shelf, seeds, options.workers))
    rows = [row_of(claim, outcomes, seeds[claim.part], quick=options.quick) for claim in chosen]
    print(json.dumps({"rows": rows}, indent=2) if options.json else as_text(rows))
    if _is_full(options):
        minutes = sum(outcome.seconds for outcome in outcomes.values()) / 60
        said = ["tools/claims", *(sys.argv[1:] if arguments is None else arguments)]
        table = {"about": about(shlex.join(said), versions(), minutes), "rows": rows}
        write_json(options.docs / "claims.json", table)
        write_text(options.docs / "claims.md", as_markdown(table))
    return status_of(rows, quick=options.quick)


def _is_full(options: argparse.Namespace) -> bool:
    """Whether this is the published table: not of some claims, a quick look or fewer seeds."""
    enough = options.seeds is None or all(options.seeds >= part.seeds for part in PARTS.values())
    return not options.only and not options.quick and enough


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/claims", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="E5,E6", help="these claims, and no table in docs")
    parser.add_argument("--seeds", type=_count, help="seeds of each experiment; else 3, or 5 of E3")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, a tenth of the epochs: no evidence"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, nothing else")
    parser.add_argument("--workers", type=_count, default=1, help="processes at a time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "claims", help="kept figures")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the table goes")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def wanted(parser: argparse.ArgumentParser, only: str | None) -> list[Claim]:
    """The claims that were asked for, each or by part; E6 stands for E6b and E6c too."""
    if only is None:
        return list(CLAIMS.values())
    names: dict[str, None] = {}
    for asked in only.split(","):
        one = re.compile(f"{re.escape(asked)}[a-z]?")
        found = [n for n, claim in CLAIMS.items() if one.fullmatch(n) or claim.part == asked]
        if not found:
            parts = [claim.part for claim in CLAIMS.values()]
            near = difflib.get_close_matches(asked, [*CLAIMS, *parts], n=1, cutoff=0.0)
            parser.error(f"--only {asked}: no such claim. The nearest is {near[0]}.")
        names |= dict.fromkeys(found)
    return [CLAIMS[name] for name in CLAIMS if name in names]


def _outcomes(
    shelf: Shelf, seeds: dict[str, int], workers: int
) -> Iterator[tuple[tuple[str, int], Outcome]]:
    """What became of each part and seed, as it becomes known."""
    jobs = [(part, seed) for part, number in seeds.items() for seed in range(number)]
    if workers == 1:
        yield from (_told(job, _outcome(shelf, job)) for job in jobs)
        return
    # Spawned: a forked process would inherit torch's threads in an unknown state.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        done = pool.imap(partial(_outcome, shelf), jobs)
        yield from (_told(job, outcome) for job, outcome in zip(jobs, done, strict=True))


def _outcome(shelf: Shelf, job: tuple[str, int]) -> Outcome:
    part, seed = job
    return shelf.outcome(PARTS[part], seed)


def _told(job: tuple[str, int], outcome: Outcome) -> tuple[tuple[str, int], Outcome]:
    part, seed = job
    state = f"{outcome.seconds:.0f} s" if outcome.figures else outcome.reason
    print(f"{part}, seed {seed}: {state}", file=sys.stderr, flush=True)
    return job, outcome


def row_of(claim: Claim, outcomes: Outcomes, num_seeds: int, *, quick: bool) -> Row:
    """The row of one claim; ``holds`` is None where nothing can be said."""
    parts = [outcomes[claim.part, seed] for seed in range(num_seeds)]
    figures: list[Figures] = [part.figures for part in parts if part.figures is not None]
    reasons = [part.reason for part in parts if part.figures is None]
    row: Row = {
        "claim": claim.name,
        "says": claim.says,
        "holds": None,
        "how": claim.how,
        "condition": claim.condition,
        "gates": claim.gates,
        "measured": {},
        "seeds": len(figures),
        "seconds": round(sum(part.seconds for part in parts), 1),
        "note": "; ".join(reasons),
    }
    if reasons:
        return {**row, "note": f"not run: {row['note']}"}
    verdict = claim.judge(figures)
    row["measured"] = verdict.measured
    if quick:
        return {**row, "note": QUICK_NOTE}
    few = f"fewer than {FEWEST_SEEDS} seeds: weak evidence" if num_seeds < FEWEST_SEEDS else ""
    return {**row, "holds": bool(verdict.holds), "note": few}


def status_of(rows: Sequence[Row], *, quick: bool) -> int:
    """The exit status that rows deserve; a quick look judges nothing."""
    if any(row["holds"] is False and row["gates"] for row in rows):
        return FAILED
    unfinished = any(row["holds"] is None and not (quick and row["measured"]) for row in rows)
    return ERROR if unfinished else FULL


if __name__ == "__main__":
    sys.exit(main())

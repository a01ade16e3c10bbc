#!/usr/bin/env python3
"""Structures that are found on one task and trained on another, beside their controls.

    .venv/bin/python tools/transfer.py [--only PAIR,...] [--seeds N] [--max-minutes M] [--json]

Each pair is a run and a transfer of it (``compressor transfer``), with few epochs; without a GPU,
fewer ``--images`` make it bearable. What is done is not done again: a pair that was stopped, or
took longer than its minutes, goes on where it was when the tool is started again. The pairs that
are whole are written to ``docs/transfer.md``, as JSON beside it.
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from seeds import gpu_name
from transfer_pairs import PAIRS, How, Pair

from compressor.bench.environment import environment
from compressor.console import Console
from compressor.files import fingerprint, read_json, write_json, write_text
from compressor.time_limit import TimeOver, within
from compressor.transfer.make import TransferPlan, make_transfer
from compressor.transfer.origin import Origin
from compressor.transfer.table import legend, table_lines, told_of

ROOT = Path(__file__).resolve().parent.parent
RUNS, DOCS = ROOT / "runs" / "transfer", ROOT / "docs"
PACKAGES = ("torch", "torchvision", "onnxruntime", "numpy")
NUM_SEEDS, MAX_MINUTES = 3, 90.0
MEASURED = "measured.json"

Record = dict[str, Any]


def versions() -> dict[str, str]:
    """Of the packages that decide over figures."""
    return {name: metadata.version(name).split("+")[0] for name in PACKAGES}


def made_of(pair: Pair, how: How) -> Record:
    """What the record of a pair depends on beside its seeds."""
    recipe = pair.recipe(RUNS / pair.name, how)
    return {"recipe": fingerprint(recipe.model_dump(mode="json")), "versions": versions()}


def measured(pair: Pair, num_seeds: int, how: How) -> Record:
    """The record of one pair, made where it is not done."""
    folder, began = RUNS / pair.name, time.monotonic()
    source = pair.make_run(folder / "run", how)
    recipe = pair.recipe(folder, how)
    plan = TransferPlan(folder / "to", recipe, num_seeds)
    record = make_transfer(Origin.open(source), plan, Console(), how.device)
    # Folders of this machine are nobody's business.
    record |= {"run": pair.name, "rows": [_without_runs(row) for row in record["rows"]]}
    record["data"] = {side: _without_path(data) for side, data in record["data"].items()}
    about = {"title": pair.title, "text": pair.text, "seconds": time.monotonic() - began}
    return {**about, "made_on": made_on(how), **record}


def made_on(how: How) -> Record:
    """Machine and versions that a pair was measured on and with; pairs may differ."""
    gpu = None if how.device == "cpu" else gpu_name()
    return {"cpu": environment()["cpu"], "gpu": gpu, "versions": versions()}


def _without_runs(row: Record) -> Record:
    return {key: value for key, value in row.items() if key != "runs"}


def _without_path(data: Record) -> Record:
    name = None if data["path"] is None else Path(data["path"]).name
    return {**data, "path": name}


def outcome(pair: Pair, options: argparse.Namespace) -> Record | None:
    """The kept record of as many seeds, or a new one; None where its minutes were over."""
    how = how_of(options)
    record = kept_record(pair, how)
    if record is not None and len(record["seeds"]) >= options.seeds:
        return record
    try:
        record = within(options.max_minutes * 60, lambda: measured(pair, options.seeds, how))
    except TimeOver:
        told = f"{pair.name}: not done after {options.max_minutes:g} minutes; start the tool again."
        print(told, file=sys.stderr)
        return None
    write_json(RUNS / pair.name / MEASURED, {**record, "made_of": made_of(pair, how)})
    return record


def page(about: Record) -> str:
    """The tables of all pairs as Markdown."""
    pairs = about["pairs"]
    missing = [pair.title for name, pair in PAIRS.items() if name not in pairs]
    lines = [
        "# Structures on another task",
        "",
        f"`{about['command']}`, {about['date']}.",
        "",
        "A structure is found on one task and trained on another, with a new head: with the "
        "weights it had (ticket) and with fresh ones (ticket-fresh), beside the dense network from "
        "scratch and fine-tuned, and beside random units of the same widths. Every row of a table "
        "has as many epochs. Mean and standard error over the seeds of the new task, in percent; "
        "the run that the structure comes from is one. Few epochs: what counts is the difference "
        "between rows, not the figure.",
        *([""] if missing else []),
        *([f"Not measured yet: {'; '.join(missing)}."] if missing else []),
    ]
    for record in pairs.values():
        data, seeds = record["data"], ", ".join(map(str, record["seeds"]))
        lines += [
            "",
            f"## {record['title']}",
            "",
            record["text"],
            "",
            f"{told_of(data['from'])} -> {told_of(data['to'])}; {record['epochs']} epochs; seeds "
            f"{seeds}; {record['date']}; the last start took {record['seconds'] / 60:.0f} minutes; "
            f"{told_made_on(record['made_on'])}.",
            "",
            *table_lines(record),
            "",
            legend(record),
            "",
            *record["notes"],
        ]
    return "\n".join([*lines, ""])


def told_made_on(made_on: Record) -> str:
    """Machine and versions in a few words."""
    numbers = ", ".join(f"{name} {number}" for name, number in made_on["versions"].items())
    return f"{made_on['gpu'] or made_on['cpu']}, {numbers}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print and write what is whole."""
    parser = argparse.ArgumentParser(prog="tools/transfer.py")
    parser.add_argument("--only", default=",".join(PAIRS), help="pairs")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="of the new task")
    parser.add_argument("--max-minutes", type=float, default=MAX_MINUTES, help="for each pair")
    parser.add_argument("--images", type=int, help="training images of each task, or all")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--json", action="store_true", help="print the record, nothing else")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if strangers := [name for name in names if name not in PAIRS]:
        parser.error(f"--only {strangers[0]}: there are {', '.join(PAIRS)}.")
    whole = {name: outcome(PAIRS[name], options) for name in names}
    words = sys.argv[1:] if arguments is None else arguments
    about: Record = {
        "command": " ".join([".venv/bin/python tools/transfer.py", *words]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "pairs": kept_pairs(how_of(options)),
    }
    write_json(DOCS / "transfer.json", about)
    write_text(DOCS / "transfer.md", page(about))
    print(json.dumps(about) if options.json else page(about))
    return 0 if all(whole.values()) else 1


def how_of(options: argparse.Namespace) -> How:
    """What the command line says of how pairs are made."""
    return How(options.device, options.images)


def kept_pairs(how: How) -> dict[str, Record]:
    """The records of all pairs that are whole, in their order."""
    records = {name: kept_record(pair, how) for name, pair in PAIRS.items()}
    return {name: record for name, record in records.items() if record is not None}


def kept_record(pair: Pair, how: How) -> Record | None:
    """What was measured of a pair; None where that is nothing, or was of other recipes or versions.

    The run that its structure comes from is not looked at: its stages know when they are stale.
    """
    path = RUNS / pair.name / MEASURED
    if not path.is_file():
        return None
    record: Record = read_json(path)
    return record if record.pop("made_of", None) == made_of(pair, how) else None


if __name__ == "__main__":
    sys.exit(main())

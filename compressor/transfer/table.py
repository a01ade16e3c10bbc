"""The table of a transfer: every row's accuracy over the seeds, and how far it is behind dense."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from compressor.files import read_json
from compressor.run import Run
from compressor.transfer.rows import RECORD, ROWS

DENSE = "dense"

COLUMNS = (
    *("row", "weights", "units", "validation", "test", "test against dense"),
    *("MACs", "parameters"),
)

Values = Mapping[int, Mapping[str, Run]]
"""Runs by seed and row."""


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard error, which one value alone has not, and the values."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "standard_error": error, "values": list(values)}


def rows_of(made: Values) -> list[dict[str, Any]]:
    """The rows, ``dense`` from scratch first.

    Each has ``name``, ``weights``, ``units``, ``accuracy`` with ``validation`` and ``test``,
    ``against_dense`` (test accuracy minus that of ``dense`` of the same seed), ``macs``,
    ``params``, and their ``macs_share`` and ``params_share``; all but ``dense`` also ``runs`` and
    ``max_rel_diff_fp32``, the largest of their certificates.
    """
    firsts = [next(iter(runs.values())) for runs in made.values()]
    counts = read_json(firsts[0].path("strip", "counts.json"))["dense"]
    tests = [_test(run, DENSE) for run in firsts]
    dense = {
        "name": DENSE,
        "weights": "fresh",
        "units": "all",
        "accuracy": _accuracy([_validation(run, "dense") for run in firsts], tests),
        **_sizes(counts, counts),
    }
    own = [[runs[name] for runs in made.values()] for name in ROWS]
    return [dense, *(_row(name, runs, tests) for name, runs in zip(ROWS, own, strict=True))]


def notes_of(made: Values) -> list[str]:
    """What became of tensors that do not move as they are, a sentence each."""
    first = next(iter(next(iter(made.values())).values()))
    return list(read_json(first.path("train", RECORD))["notes"])


def _row(name: str, runs: Sequence[Run], dense_tests: Sequence[float]) -> dict[str, Any]:
    counts = read_json(runs[0].path("strip", "counts.json"))
    tests = [_test(run, "slim") for run in runs]
    behind = [ours - theirs for ours, theirs in zip(tests, dense_tests, strict=True)]
    certificates = [read_json(run.path("strip", "certificate.json")) for run in runs]
    return {
        "name": name,
        "weights": ROWS[name].weights,
        "units": ROWS[name].units,
        "accuracy": _accuracy([_validation(run, "tune") for run in runs], tests),
        "against_dense": over_seeds(behind),
        **_sizes(counts["slim"], counts["dense"]),
        "max_rel_diff_fp32": max(found["max_rel_diff_fp32"] for found in certificates),
        "runs": [str(run.folder) for run in runs],
    }


def _accuracy(validations: Sequence[float], tests: Sequence[float]) -> dict[str, Any]:
    return {"validation": over_seeds(validations), "test": over_seeds(tests)}


def _sizes(counts: Mapping[str, int], dense: Mapping[str, int]) -> dict[str, Any]:
    return {
        "macs": counts["macs"],
        "macs_share": counts["macs"] / dense["macs"],
        "params": counts["params"],
        "params_share": counts["params"] / dense["params"],
    }


def _test(run: Run, network: str) -> float:
    return float(read_json(run.path("verify", "verify.json"))["accuracy"][network])


def _validation(run: Run, stage: str) -> float:
    return float(read_json(run.path(stage, "history.json"))[-1]["validation_accuracy"])


def as_text(record: Mapping[str, Any]) -> str:
    """The table as a page of Markdown."""
    seeds = record["seeds"]
    return "\n".join(
        [
            f"# {record['recipe']}: the structure of {record['run']} on another task",
            "",
            f"{told_of(record['data']['from'])} -> {told_of(record['data']['to'])}, "
            f"{record['date']}. Epochs of every row: {record['epochs']}; "
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
            + (", mean and standard error." if len(seeds) > 1 else "."),
            "",
            *table_lines(record),
            "",
            legend(record),
            "",
            *record["notes"],
            "",
        ]
    )


def told_of(data: Mapping[str, Any]) -> str:
    """A data set in few words."""
    classes, images = data.get("classes"), data["train_images"]
    some = f" ({' '.join(map(str, classes))})" if classes else ""
    return f"{data['source']}{some}" + (f", {images:,} training images" if images else "")


def table_lines(record: Mapping[str, Any]) -> list[str]:
    """The table alone."""
    head = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return [*head, *(_line(row) for row in record["rows"])]


def legend(record: Mapping[str, Any]) -> str:
    """What the rows are."""
    share = record["teacher_weight"]
    teacher = (
        f" All but dense learn {share:g} of their loss from dense, the network of the new task."
        if share
        else ""
    )
    return (
        "Head and validation images are new for each seed, the run is one. dense and "
        "dense-fine-tuned are the whole network. With fresh weights it does not matter which units "
        "are kept, only how many of each coupling, so ticket-fresh is also what random units with "
        f"fresh weights give.{teacher}"
    )


def _line(row: Mapping[str, Any]) -> str:
    accuracy = row["accuracy"]
    behind = _spread(row["against_dense"], sign="+") if "against_dense" in row else ""
    return (
        f"| {row['name']} | {row['weights']} | {row['units']} | {_spread(accuracy['validation'])} "
        f"| {_spread(accuracy['test'])} | {behind} | {row['macs']:,} ({row['macs_share']:.1%}) | "
        f"{row['params']:,} ({row['params_share']:.1%}) |"
    )


def _spread(values: Mapping[str, Any], sign: str = "") -> str:
    """In percent, or points where it is a difference."""
    mean, error = values["mean"] * 100, values["standard_error"]
    return f"{mean:{sign}.2f}" + ("" if error is None else f" ± {error * 100:.2f}")

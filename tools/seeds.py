"""What tables over several seeds have in common: means, errors, and where they are from."""

import argparse
import datetime
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import torch


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean; None of a single value, which tells nothing of it."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) / math.sqrt(len(values))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard error of it; 0 of a single value."""
    return statistics.fmean(values), standard_error(values) or 0.0


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard error over the seeds, and each of them; one seed has no error."""
    error = standard_error(values)
    return {"mean": statistics.fmean(values), "standard_error": error, "each": list(values)}


def compared(
    rows: Sequence[dict[str, Any]], keys: Sequence[str], names: Sequence[str], ours: str
) -> list[dict[str, Any]]:
    """Mean and error over the seeds of each row, and of how far ``ours`` is ahead, seed by seed.

    Args:
        rows: ``row`` (a name), ``seed``, ``accuracy``, ``macs_share`` and ``keys`` each.
        keys: What two rows must have in common to be compared, such as their size.
        names: In the order wanted; what the rows have of ``keys`` stays in their own.
        ours: The name that others are compared with.
    """
    partner = {_place(row, keys): row["accuracy"] for row in rows if row["row"] == ours}
    found = []
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        here = [row for row in rows if tuple(row[key] for key in keys) == values]
        for name in names:
            if not (some := [row for row in here if row["row"] == name]):
                continue
            both = [(partner.get(_place(row, keys)), row["accuracy"]) for row in some]
            gaps = [own - rival for own, rival in both if own is not None]
            found.append(
                {
                    "row": name,
                    **dict(zip(keys, values, strict=True)),
                    "seeds": len(some),
                    "accuracy": mean_and_error([row["accuracy"] for row in some]),
                    "ahead": mean_and_error(gaps) if gaps and name != ours else None,
                    "macs_share": statistics.fmean(row["macs_share"] for row in some),
                }
            )
    return found


def _place(row: dict[str, Any], keys: Sequence[str]) -> tuple[Any, ...]:
    return (row["seed"], *(row[key] for key in keys))


def as_share(pair: Sequence[float]) -> str:
    """Mean and error of shares, in percent."""
    mean, error = pair
    return f"{mean:.2%} ± {error:.2%}"


def as_points(pair: Sequence[float]) -> str:
    """Mean and error of differences of shares, in points."""
    gap, error = pair
    return f"{100 * gap:+.2f} ± {100 * error:.2f}"


def made_by(tool: str, options: argparse.Namespace) -> dict[str, Any]:
    """Command, date, versions and processors of a table.

    Args:
        tool: File of the tool.
        options: Its ``recipe``, ``seeds`` and ``overrides``.
    """
    command = [tool, "--recipe", options.recipe, "--seeds", str(options.seeds)]
    for override in options.overrides:
        command += ["--set", override]
    return {
        "command": " ".join(command),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch")},
        "processors": os.cpu_count(),
        "gpu": gpu_name(),
    }


def gpu_name() -> str | None:
    """The GPU that stages take by themselves; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def source_line(told: dict[str, Any]) -> str:
    """What ``made_by`` found, in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    gpu = f", {told['gpu']}" if told.get("gpu") else ""
    return f"`{told['command']}`, {told['date']}, {versions}, {told['processors']} processors{gpu}."


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)

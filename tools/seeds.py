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

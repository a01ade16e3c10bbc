"""Time one training step with each method against plain SGD, and count the bytes of both.

Networks are torchvision's at the size of CIFAR-10: 32 x 32 pixels, ten classes. In each round the
method and SGD take one step each, whoever is first changing from round to round; what is told are
medians and quartiles of the ratios of the rounds. Without a choice of models, methods or levels the
table is written to ``docs/bench_step.md`` and ``docs/bench_step.json``. Exit status 3 says that a
method costs more than it may.
"""

import argparse
import difflib
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from bench_step_cases import Case, cases
from bench_step_measure import (
    SGD,
    Memory,
    Setting,
    Spread,
    clock_of,
    kept_random,
    memory_of,
    time_against_sgd,
)
from bench_step_page import about, as_markdown, in_short, missed
from torch import Tensor, nn

from compressor.bench.stopwatch import Clock
from compressor.bench.timer import MIN_ROUNDS
from compressor.bench.torch_runner import torch_threads
from compressor.errors import CheckError, CompressorError
from compressor.files import write_json, write_text
from compressor.sparsity.catalog import METHODS
from compressor.strip.find import find_couplings

ROOT = Path(__file__).resolve().parent.parent
NUM_CLASSES, PIXELS = 10, 32
MODELS = "resnet18,mobilenet_v2"
RARE_ROUNDS = 5
"""Rounds of steps that do a method's rare work: their ratio is far from one, or of no interest."""

Row = dict[str, Any]


@dataclass(frozen=True)
class How:
    """How steps are timed."""

    num_rounds: int
    clock: Clock


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 3 where a method costs more than it may."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(words)
    models = _chosen(parser, "--models", options.models, torchvision.models.list_models())
    methods = _chosen(parser, "--methods", options.methods, METHODS)
    levels = {level for method in METHODS.values() for level in method.levels}
    chosen = cases(methods, _chosen(parser, "--levels", options.levels, levels))
    if not chosen:
        parser.error(f"--levels {options.levels}: {options.methods} has no such level.")
    device = _device(parser, options.device)
    how = How(options.rounds, clock_of(device, options.threads))
    try:
        for case in chosen:
            case.settings()  # what is missing is told now, not after an hour
        with torch_threads(options.threads):
            table = about(shlex.join(words), device, options.batch, options.rounds)
            rows = [
                row
                for name in models or MODELS.split(",")
                for row in rows_of(name, setting_of(name, options.batch, device), chosen, how)
            ]
    except CompressorError as failure:
        print(failure, file=sys.stderr)
        return failure.exit_status
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        print("\n".join(in_short(row) for row in rows))
    # A table of some of it is not the published one.
    if (options.models, options.methods, options.levels) == (None, None, None):
        table = {"about": table, "rows": rows}
        write_json(options.docs / "bench_step.json", table)
        write_text(options.docs / "bench_step.md", as_markdown(table))
    return verdict(rows)


def verdict(rows: Iterable[Row]) -> int:
    """Exit status: 3 where a row misses a bar, each such row told on stderr; else 0."""
    failing = [row for row in rows if row["missed"]]
    for row in failing:
        print(in_short(row), file=sys.stderr)
    return CheckError.exit_status if failing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/bench_step", description=__doc__.splitlines()[0])
    parser.add_argument("--models", metavar="NAME,...", help=f"of torchvision; default {MODELS}")
    parser.add_argument("--methods", metavar="NAME,...", help="default all")
    parser.add_argument("--levels", metavar="NAME,...", help="default all of each method")
    parser.add_argument("--batch", type=_at_least(2), default=128, help="images in a step")
    parser.add_argument("--rounds", type=_at_least(MIN_ROUNDS), default=12, help="steps of each")
    parser.add_argument("--threads", type=_at_least(1), default=1, help="on the CPU")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, nothing else")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the table goes")
    return parser


def _at_least(least: int) -> Any:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return number


def _chosen(
    parser: argparse.ArgumentParser, option: str, given: str | None, there: Iterable[str]
) -> list[str] | None:
    """The names that an option gives; None without the option."""
    if given is None:
        return None
    names, known = given.split(","), sorted(there)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            parser.error(f"{option} {name}: there is none. The nearest is {near[0]}.")
    return names


def _device(parser: argparse.ArgumentParser, wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no CUDA GPU here. Use --device cpu.")
    on_cpu = wanted == "cpu" or not torch.cuda.is_available()
    return torch.device("cpu" if on_cpu else "cuda")


def setting_of(name: str, batch_size: int, device: torch.device) -> Setting:
    """A network of torchvision and a random batch, the same at every call."""
    with kept_random():
        model = torchvision.models.get_model(name, weights=None, num_classes=NUM_CLASSES)
        images = torch.randn(batch_size, 3, PIXELS, PIXELS)
        labels = torch.randint(NUM_CLASSES, (batch_size,))
    return make_setting(model, images, labels, device)


def make_setting(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> Setting:
    """What both sides share, with the couplings, which are found once for all methods."""
    return Setting(model, find_couplings(model, images[:2], "index-flow"), images, labels, device)


def rows_of(name: str, setting: Setting, chosen: Sequence[Case], how: How) -> list[Row]:
    """A row for each case, told on stderr as it is done.

    Args:
        name: Of the network.
        setting: The network.
        chosen: The cases.
        how: Rounds and clock.
    """
    plain = memory_of(setting, None)
    rows = []
    for case in chosen:
        row = {"model": name, **row_of(setting, case, plain, how)}
        row["missed"] = missed(row)
        print(in_short(row), file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def row_of(setting: Setting, case: Case, plain: Memory, how: How) -> Row:
    """Times and bytes of one case; ``plain`` are the bytes of SGD."""
    make = partial(case.make, SGD.lr)
    memory = memory_of(setting, make)
    timing = time_against_sgd(setting, make, how.num_rounds, how.clock)
    update_ratio = None
    if case.has_rare:
        rare = partial(case.make_rare, SGD.lr)
        update_ratio = time_against_sgd(setting, rare, RARE_ROUNDS, how.clock).step_ratio.median
    return {
        "method": case.method,
        "level": case.level,
        "form": case.form,
        **_spread("step_ratio", timing.step_ratio),
        **_spread("optimizer_ratio", timing.optimizer_ratio),
        **_spread("optimizer_share", timing.optimizer_share),
        "update_ratio": None if update_ratio is None else round(update_ratio, 4),
        "sgd_step_ms": round(timing.sgd_seconds * 1000, 3),
        "memory_ratio": round(memory.peak / plain.peak, 4),
        "peak_bytes": memory.peak,
        "sgd_peak_bytes": plain.peak,
        "state_bytes": memory.kept - plain.kept,
        "twinned_bytes": memory.twinned,
    }


def _spread(name: str, spread: Spread) -> Row:
    quartiles = [round(spread.low, 4), round(spread.high, 4)]
    return {name: round(spread.median, 4), f"{name}_quartiles": quartiles}

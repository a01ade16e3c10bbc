"""A family: many sizes of one network from one search, beside each other."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor.bench.onnx_input import onnx_image_shape
from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS, stopwatch
from compressor.bench.timer import (
    BenchSettings,
    Latency,
    compare,
    interleave,
    random_batch,
    timing_facts,
)
from compressor.console import Console
from compressor.context import Shared
from compressor.errors import BudgetError
from compressor.files import read_json, write_json, write_text
from compressor.pipeline import Where
from compressor.run import Run
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe
from compressor.summary import PASSES
from compressor.train.device import Device

NUM_SIZES, LEAST_SHARE = 8, 0.05
"""Sizes unless others are asked for: so many, in equal ratios from the whole down to this share."""

LAST_STAGE = "package"
"""Members are timed together, beside each other, and not each for itself."""

COSTS = ("macs", "params", "bytes", "latency_ms")
"""By each of these a member may be dominated: another has no more of it and is as accurate."""

DENSE = "dense"

COLUMNS = (
    *("size", "validation", "test", "MACs", "parameters", "bytes", "latency, ms", "faster"),
    "dominated by",
)


@dataclass(frozen=True)
class FamilyPlan:
    """What a family is to be.

    Attributes:
        out: Its directory; each member has a run directory of its own in it.
        shares: Of the MACs, or None for the default ones down to the floors.
        tune_epochs: Of each member, or None for those of the recipe.
        overrides: ``section.key=value`` each, for all members.
    """

    out: Path
    shares: tuple[float, ...] | None = None
    tune_epochs: int | None = None
    overrides: tuple[str, ...] = ()


def default_shares(least: float) -> tuple[float, ...]:
    """``NUM_SIZES`` shares in equal ratios from 1 to ``LEAST_SHARE``, or to ``least`` above it."""
    lowest = max(LEAST_SHARE, least)
    ratio = lowest ** (1 / (NUM_SIZES - 1))
    inner = [round(ratio**number, 3) for number in range(NUM_SIZES - 1)]
    return (*inner, lowest)


def make_family(
    source: Source, plan: FamilyPlan, console: Console, device: Device = "auto"
) -> dict[str, Any]:
    """Make every member and the record of all; what is done already is not done again.

    All are cut before the first is tuned, so that a size below the floors is refused at once.

    Returns:
        What ``family.json`` holds: ``members``, the largest first, each with ``share``, ``run``,
        ``accuracy`` (``validation``, ``test``), the ``COSTS`` and ``dominated``, a list of costs;
        ``dense``, the same of the dense network; ``cost``, what making them took.

    Raises:
        BudgetError: A size is below what the floors cost.
    """
    started = time.monotonic()
    making = _Making(source, plan, console, device, Shared())
    shares = plan.shares or _possible_shares(making)
    for share in shares:
        making.member(share, "strip")
    members = {f"{share:g}": making.member(share, LAST_STAGE) for share in shares}
    runs = list(members.values())
    rows = [_row(share, run) for share, run in zip(shares, runs, strict=True)]
    dense = _dense_row(runs[0])
    timed = _timed(members, source.recipe.bench)
    for name, row in zip((DENSE, *members), (dense, *rows), strict=True):
        row["latency_ms"] = timed["latency"][name]["p50"]
        row["speedup"] = timed["latency"][name]["speedup"]
    mark_dominated(rows)
    record = {
        "recipe": source.recipe.name,
        "source": str(source.run.folder),
        "tune_epochs": making.tune_epochs,
        "dense": dense,
        "members": rows,
        "timing": timed,
        "cost": _cost(source.run, runs),
        "seconds": time.monotonic() - started,
    }
    write_json(plan.out / "family.json", record)
    write_text(plan.out / "family.md", as_text(record))
    return record


def _possible_shares(making: "_Making") -> tuple[float, ...]:
    """The default shares; where the floors cost more than the least of them, down to the floors."""
    try:
        making.member(LEAST_SHARE, "strip")
    except BudgetError as failure:
        if failure.floor is None:
            raise
        shutil.rmtree(making.folder(LEAST_SHARE), ignore_errors=True)
        # Up, since the floors themselves must fit.
        shares = default_shares(math.ceil(failure.floor * 1000) / 1000)
        making.console.warn(
            f"The floors alone cost {failure.floor:.3f} of the MACs, so the smallest size is "
            f"{shares[-1]:g}, not {LEAST_SHARE:g}. Lower strip.floor_share or strip.round_to for "
            "smaller ones."
        )
        return shares
    return default_shares(LEAST_SHARE)


@dataclass(frozen=True)
class _Making:
    """What all members have in common while they are made."""

    source: Source
    plan: FamilyPlan
    console: Console
    device: Device
    shared: Shared

    @property
    def tune_epochs(self) -> int:
        own = self.plan.tune_epochs
        return self.source.recipe.tune.epochs if own is None else own

    def folder(self, share: float) -> Path:
        return self.plan.out / Size("keep_macs", share).name

    def member(self, share: float, until: str) -> Run:
        """The run of one size, made up to a stage."""
        size = Size("keep_macs", share)
        recipe = sliced_recipe(self.source.recipe, size, self.tune_epochs, self.plan.overrides)
        self.console.say(f"family: {size.name}, up to {until}")
        where = Where(
            self.folder(share),
            self.console,
            self.device,
            resume=True,
            until=until,
            shared=self.shared,
        )
        return slice_run(self.source, recipe, where)


def _row(share: float, run: Run) -> dict[str, Any]:
    counts = read_json(run.path("strip", "counts.json"))
    slim, dense = counts["slim"], counts["dense"]
    accuracy = read_json(run.path("verify", "verify.json"))["accuracy"]
    return {
        "share": share,
        "run": str(run.folder),
        "package": str(run.folder / "package"),
        "accuracy": {"validation": _last_validation(run, "tune"), "test": accuracy["slim"]},
        "macs": slim["macs"],
        "macs_share": slim["macs"] / dense["macs"],
        "params": slim["params"],
        "bytes": run.path("export", "model.onnx").stat().st_size,
    }


def _dense_row(run: Run) -> dict[str, Any]:
    counts = read_json(run.path("strip", "counts.json"))["dense"]
    accuracy = read_json(run.path("verify", "verify.json"))["accuracy"]
    return {
        "accuracy": {"validation": _last_validation(run, "dense"), "test": accuracy["dense"]},
        "macs": counts["macs"],
        "macs_share": 1.0,
        "params": counts["params"],
        "bytes": run.path("export", "dense.onnx").stat().st_size,
    }


def _last_validation(run: Run, stage: str) -> float | None:
    """Validation accuracy after the last epoch of a stage; None where it had none."""
    history = read_json(run.path(stage, "history.json"))
    return float(history[-1]["validation_accuracy"]) if history else None


def mark_dominated(rows: Sequence[dict[str, Any]]) -> None:
    """Give each row ``dominated``: the costs by which another is as accurate and no dearer.

    Accuracy is that on validation images, so that nothing is chosen by test images; on test images
    where a family was not tuned, since it has no other. Of two rows that are equal in both, the
    first counts as the better one.
    """
    for place, row in enumerate(rows):
        row["dominated"] = [
            cost
            for cost in COSTS
            if any(
                _dominates(other, row, cost, earlier=number < place)
                for number, other in enumerate(rows)
                if number != place
            )
        ]


def _dominates(
    one: Mapping[str, Any], other: Mapping[str, Any], cost: str, *, earlier: bool
) -> bool:
    ours, theirs = _judged(one), _judged(other)
    if ours < theirs or one[cost] > other[cost]:
        return False
    return ours > theirs or one[cost] < other[cost] or earlier


def _judged(row: Mapping[str, Any]) -> float:
    accuracy = row["accuracy"]
    judged = accuracy["test"] if accuracy["validation"] is None else accuracy["validation"]
    return float(judged)


def _timed(members: Mapping[str, Run], settings: BenchSettings) -> dict[str, Any]:
    """Latency of the dense network and of every member in ONNX Runtime, all interleaved."""
    first = next(iter(members.values()))
    files = {DENSE: first.path("export", "dense.onnx")}
    files |= {name: run.path("export", "model.onnx") for name, run in members.items()}
    batch = random_batch(1, onnx_image_shape(files[DENSE]))
    clock = CLOCKS[settings.clock]
    watch = stopwatch(settings.clock, clock)
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name, path in files.items():
            runners[name] = OnnxRuntimeRunner(path, settings.num_threads)
            stack.callback(runners[name].close)
            runners[name].prepare(batch)
        samples = interleave(runners, settings, clock, watch)
    return {
        "latency": {
            name: {
                **Latency.of(samples_ms).to_json(),
                "speedup": asdict(compare(samples[DENSE], samples_ms)),
            }
            for name, samples_ms in samples.items()
        },
        "method": {"engine": "onnxruntime", "batch_size": 1, "clock": watch.facts()}
        | timing_facts(settings),
    }


def _cost(source: Run, members: Sequence[Run]) -> dict[str, Any]:
    """What the family took, beside what separate searches for each member would have.

    Training MACs: three forward passes an image, and the teacher's. Neither side has the dense
    network's own training, which one network serves.
    """
    search = read_json(source.path("train", "compute.json"))["images"]
    dense = read_json(members[0].path("strip", "counts.json"))["dense"]["macs"]
    search_macs = PASSES * dense * search
    tune_macs = sum(_tune_macs(run) for run in members)
    searching = source.seconds()["train"]
    tuning = sum(run.seconds()["strip"] + run.seconds()["tune"] for run in members)
    number = len(members)
    return {
        "family_macs": search_macs + tune_macs,
        "separate_macs": number * search_macs + tune_macs,
        "macs_share": (search_macs + tune_macs) / (number * search_macs + tune_macs),
        "family_seconds": searching + tuning,
        "separate_seconds": number * searching + tuning,
        "seconds_share": (searching + tuning) / (number * searching + tuning),
    }


def _tune_macs(run: Run) -> int:
    counts = read_json(run.path("strip", "counts.json"))
    compute = read_json(run.path("tune", "compute.json"))
    slim, dense = counts["slim"]["macs"], counts["dense"]["macs"]
    return int(PASSES * slim * compute["images"] + dense * compute["teacher_images"])


def as_text(record: Mapping[str, Any]) -> str:
    """The curve as a page of Markdown."""
    cost = record["cost"]
    lines = [
        f"# {record['recipe']}: a family of {len(record['members'])} from one search",
        "",
        f"{record['tune_epochs']} epochs of tuning each. Making all took {cost['macs_share']:.0%} "
        f"of the training compute, and {cost['seconds_share']:.0%} of the time, of as many "
        "searches.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- " * len(COLUMNS) + "|",
        _line("dense", record["dense"]),
        *(_line(f"{row['share']:g}", row) for row in record["members"]),
        "",
        "Latency: median in ONNX Runtime at batch 1, all networks interleaved; faster: against the "
        "dense network, with the 95 % interval. A member is dominated by a cost if another has no "
        "more of it and is at least as accurate on validation images.",
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, row: Mapping[str, Any]) -> str:
    accuracy, speedup = row["accuracy"], row["speedup"]
    validation = "" if accuracy["validation"] is None else f"{accuracy['validation']:.2%}"
    return (
        f"| {name} | {validation} | {accuracy['test']:.2%} | {row['macs']:,} "
        f"({row['macs_share']:.1%}) | {row['params']:,} | {row['bytes']:,} | "
        f"{row['latency_ms']:.3g} | {speedup['median']:.2f}x ({speedup['low']:.2f}-"
        f"{speedup['high']:.2f}) | {', '.join(row.get('dominated', []))} |"
    )

"""A family: many sizes of one network from one search, beside each other."""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.console import Console
from compressor.context import Shared
from compressor.errors import BudgetError
from compressor.files import read_json, write_json, write_text
from compressor.pipeline import Where
from compressor.report.family_file import family_file
from compressor.report.write import write_report
from compressor.run import Run
from compressor.sizes.curve import as_text, mark_dominated
from compressor.sizes.slices import Size, Source, slice_run, sliced_recipe
from compressor.sizes.timing import DENSE, UNTIMED, timed
from compressor.summary import PASSES, search_macs
from compressor.train.device import Device, on_cpu

NUM_SIZES, LEAST_SHARE = 8, 0.05
"""Sizes unless others are asked for: so many, in equal ratios from the whole down to this share."""

RECORD, PAGE = "family.json", "family.md"

LAST_STAGE = "package"
"""Members are timed together, beside each other, and not each for itself."""


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


def default_shares(least: float, most: float = 1.0) -> tuple[float, ...]:
    """``NUM_SIZES`` shares in equal ratios from ``most`` to ``LEAST_SHARE``, or what is above it.

    Fewer where two are the same to three places.

    Args:
        least: What the floors cost.
        most: Largest share that there is.
    """
    # Down, since no more than that was ever trained.
    highest = math.floor(most * 1000) / 1000
    lowest = min(highest, max(LEAST_SHARE, least))
    ratio = (lowest / highest) ** (1 / (NUM_SIZES - 1))
    inner = [round(highest * ratio**number, 3) for number in range(NUM_SIZES - 1)]
    return tuple(dict.fromkeys((*inner, lowest)))


def make_family(
    source: Source, plan: FamilyPlan, console: Console, device: Device = "auto"
) -> dict[str, Any]:
    """Make every member and the record of all; what is done already is not done again.

    All are cut before the first is tuned, so that a size below the floors is refused at once. The
    dense network is exported and verified once for all members that are made together.

    Returns:
        What ``family.json`` holds: ``members``, the largest first, each with ``share``, ``run``,
        ``accuracy`` (``validation``, ``test``), the ``COSTS`` and ``dominated``, a list of costs;
        ``dense``, the same of the dense network; ``cost``, what making them took; ``overrides`` and
        ``device``, what they were made with.

    Raises:
        BudgetError: A size is below what the floors cost, or above what a growing network grew to.
    """
    started = time.monotonic()
    making = _Making(source, plan, console, device, Shared())
    # From here on members may be other ones than those it tells of.
    for name in (RECORD, PAGE):
        (plan.out / name).unlink(missing_ok=True)
    shares = tuple(dict.fromkeys(plan.shares or _possible_shares(making)))
    for share in shares:
        making.member(share, "strip")
    members = {f"{share:g}": making.member(share, LAST_STAGE) for share in shares}
    runs = list(members.values())
    rows = [_row(share, run) for share, run in zip(shares, runs, strict=True)]
    dense = _dense_row(runs[0])
    files = {DENSE: runs[0].path("export", "dense.onnx")}
    files |= {name: run.path("export", "model.onnx") for name, run in members.items()}
    timing = timed(files, source.recipe.bench)
    for name, row in zip(files, (dense, *rows), strict=True):
        row["latency_ms"] = timing["latency"][name]["p50"]
        row["speedup"] = timing["latency"][name]["speedup"]
    mark_dominated(rows)
    record = {
        "recipe": source.recipe.name,
        "source": str(source.run.folder),
        "tune_epochs": making.tune_epochs,
        "overrides": list(plan.overrides),
        "device": "cpu" if on_cpu(device) else "cuda",
        "dense": dense,
        "members": rows,
        "timing": timing,
        "cost": _cost(source.run, runs),
        "seconds": time.monotonic() - started,
    }
    write_json(plan.out / RECORD, record)
    write_text(plan.out / PAGE, as_text(record))
    _show_in_report(source.run.folder)
    return record


def _show_in_report(folder: Path) -> None:
    """Write the report of the run anew, with its family, if it has one to be shown in."""
    if family_file(folder) is not None and (folder / "summary.json").is_file():
        write_report(folder)


def _possible_shares(making: "_Making") -> tuple[float, ...]:
    """The default shares; where the floors cost more than the least of them, down to the floors."""
    most = making.source.grown_share
    try:
        making.member(LEAST_SHARE, "strip")
    except BudgetError as failure:
        if failure.floor is None:
            raise
        _forget_untuned(making.folder(LEAST_SHARE))
        # Up, since the floors themselves must fit.
        shares = default_shares(math.ceil(failure.floor * 1000) / 1000, most)
        making.console.warn(
            f"The floors alone cost {failure.floor:.3f} of the MACs, so the smallest size is "
            f"{shares[-1]:g}, not {LEAST_SHARE:g}. Lower strip.floor_share or strip.round_to for "
            "smaller ones."
        )
        return shares
    return default_shares(LEAST_SHARE, most)


def _forget_untuned(folder: Path) -> None:
    """Remove what an attempt at a member left; one that was tuned, by other settings, stays."""
    if "tune" not in Run(folder).seconds():
        shutil.rmtree(folder, ignore_errors=True)


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
            given=UNTIMED,
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


def _cost(source: Run, members: Sequence[Run]) -> dict[str, Any]:
    """What the family took, beside what separate searches for each member would have.

    Training MACs: three forward passes an image, and the teacher's; a network that grew was
    narrower. Neither side has the dense network's own training, which one network serves.
    """
    dense = read_json(members[0].path("strip", "counts.json"))["dense"]["macs"]
    search = PASSES * search_macs(dense, read_json(source.path("train", "compute.json")))
    tune = sum(_tune_macs(run) for run in members)
    searching = source.seconds()["train"]
    tuning = sum(run.seconds()["strip"] + run.seconds()["tune"] for run in members)
    number = len(members)
    return {
        "family_macs": search + tune,
        "separate_macs": number * search + tune,
        "macs_share": (search + tune) / (number * search + tune),
        "family_seconds": searching + tuning,
        "separate_seconds": number * searching + tuning,
        "seconds_share": (searching + tuning) / (number * searching + tuning),
    }


def _tune_macs(run: Run) -> int:
    counts = read_json(run.path("strip", "counts.json"))
    compute = read_json(run.path("tune", "compute.json"))
    slim, dense = counts["slim"]["macs"], counts["dense"]["macs"]
    return int(PASSES * slim * compute["images"] + dense * compute["teacher_images"])

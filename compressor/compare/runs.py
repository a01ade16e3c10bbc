"""Runs to be compared: their figures, which of them can be set against each other, and how."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import RunError
from compressor.report.run_files import RunRecord, read_run
from compressor.report.timings import Latency, Percentiles

MACHINE = ("platform", "cpu", "gpu", "cores", "torch_threads", "versions")
"""What must be the same of two environments for their latencies to be set against each other."""

METHOD = ("num_threads", "clock")
"""What must be the same of how they were taken."""

FIRST_ENGINE = "onnxruntime"
"""The engine that every run has; another is taken where it was not timed in all."""


@dataclass(frozen=True)
class Compared:
    """One run: its name among the others, its folder, and what was read there."""

    name: str
    folder: Path
    record: RunRecord

    @property
    def method(self) -> str:
        """The method, with its level where that is not whole units."""
        level = self.record.settings.get("sparsity", {}).get("level", "unit")
        return self.record.path.method + ("" if level == "unit" else f", {level}")

    @property
    def validation(self) -> float | None:
        """Accuracy on validation images after tuning; none where nothing was tuned."""
        history = self.record.tune_history
        return history[-1].validation_accuracy if history else None

    @property
    def certified(self) -> bool | None:
        """Whether the certificate is within its bounds; none where a run does not say them."""
        figures, bounds = self.record.summary.certificate, self.record.certificate
        if not {"bound_fp32", "bound_fp64"} <= set(bounds):
            return None
        fp32, fp64 = float(bounds["bound_fp32"]), float(bounds["bound_fp64"])
        return figures.max_rel_diff_fp32 <= fp32 and figures.max_rel_diff_fp64 <= fp64

    def times(self, place: tuple[str, int]) -> Percentiles:
        """Of the slim network in an engine at a batch size in which it was timed."""
        engine, batch = place
        return self.record.summary.slim.latency_ms[engine][batch]


@dataclass(frozen=True)
class Comparison:
    """All runs, and what can be said of them together.

    Attributes:
        runs: At least two, in the order in which they were named.
        judged_by: Which accuracy decides who is dominated; none if the runs are of different data.
        place: Engine and batch size of the latencies; none where no place was timed in all.
        notes: What cannot be compared, and why.
    """

    runs: tuple[Compared, ...]
    judged_by: str | None
    place: tuple[str, int] | None
    notes: tuple[str, ...]

    def costs(self) -> tuple[str, ...]:
        """Those that may be set against each other."""
        return ("macs", "params", "bytes", *(("latency_ms",) if self.place else ()))

    def cost(self, run: Compared, cost: str) -> float:
        """What the slim network of a run costs."""
        if cost == "latency_ms":
            assert self.place is not None
            return run.times(self.place).p50
        return float(getattr(run.record.summary.slim, cost))

    def accuracy(self, run: Compared) -> float:
        """By which runs are judged."""
        if self.judged_by == "validation":
            assert run.validation is not None
            return run.validation
        return run.record.summary.slim.accuracy

    def dominators(self, run: Compared, cost: str) -> tuple[Compared, ...]:
        """Runs that are as accurate and cost no more, and are better in one of the two."""
        if self.judged_by is None:
            return ()
        ours = (self.accuracy(run), -self.cost(run, cost))
        found = []
        for other in self.runs:
            theirs = (self.accuracy(other), -self.cost(other, cost))
            if theirs != ours and theirs[0] >= ours[0] and theirs[1] >= ours[1]:
                found.append(other)
        return tuple(found)


def read_runs(folders: Sequence[Path]) -> Comparison:
    """The finished runs in ``folders``, at least two different ones.

    Raises:
        RunError: One is not a finished run, or is named twice.
    """
    twice = [f for f, times in Counter(f.resolve() for f in folders).items() if times > 1]
    if twice:
        raise RunError(f"{twice[0]} is named twice. Name each run once.")
    names = _names(folders)
    runs = tuple(
        Compared(name, folder, read_run(folder))
        for name, folder in zip(names, folders, strict=True)
    )
    judged_by, judged_note = _judged_by(runs)
    place, place_note = _place(runs)
    return Comparison(runs, judged_by, place, (*judged_note, *place_note))


def _names(folders: Sequence[Path]) -> list[str]:
    """Last parts of the paths, as many as it takes to tell all apart."""
    whole = [folder.resolve() for folder in folders]
    for number in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-number:]) for path in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in whole]


def _judged_by(runs: Sequence[Compared]) -> tuple[str | None, tuple[str, ...]]:
    if not _same_test_images([run.record for run in runs]):
        return None, (
            "The runs are of different data (set, folder, classes or test images), so no run is "
            "called dominated.",
        )
    splits = [(run.record.settings.get("data"), run.record.summary.seed) for run in runs]
    if any(one != splits[0] for one in splits):
        return "test", (
            "Seeds or validation images differ between the runs, so they are judged by the test "
            "images that all share; choosing among them by that is choosing by test images.",
        )
    if any(run.validation is None for run in runs):
        return "test", (
            "Not every run was tuned and has an accuracy on validation images, so they are judged "
            "by test images; choosing among them by that is choosing by test images.",
        )
    return "validation", ()


def _same_test_images(records: Sequence[RunRecord]) -> bool:
    sets = [_test_set(record) for record in records]
    # Runs of before did not count by class; what they are of is told by their settings alone.
    counts = [{one.name: one.images for one in record.classes} for record in records]
    counted = [count for count in counts if count]
    return all(one == sets[0] for one in sets) and all(count == counted[0] for count in counted)


def _test_set(record: RunRecord) -> tuple[Any, ...]:
    """What tells the test images of one run from those of another."""
    data = record.settings.get("data", {})
    # The same relative path may be another folder elsewhere.
    place = record.places.data or data.get("path")
    images = record.summary.test_images
    return (data.get("source"), place, data.get("classes"), data.get("image_size"), images)


def _place(runs: Sequence[Compared]) -> tuple[tuple[str, int] | None, tuple[str, ...]]:
    """Where all were timed, in the engine that every run has if it can be, at the least batch."""
    common = set.intersection(*(_places(run.record) for run in runs))
    if not common:
        return None, ("No engine and batch size was timed in every run, so no latency is shown.",)
    machines = [_machine(run.record.latency) for run in runs]
    if any(machine != machines[0] for machine in machines):
        return None, (
            "The runs were timed on different machines, threads, clocks or versions, so no latency "
            "is shown. Run `compressor bench` with each of them on one machine.",
        )
    return min(common, key=lambda place: (place[0] != FIRST_ENGINE, place)), (
        "The latencies are of runs that were timed one after the other, not in turns: small "
        "differences may be the machine's.",
    )


def _places(record: RunRecord) -> set[tuple[str, int]]:
    timed = record.summary.slim.latency_ms
    return {(engine, batch) for engine, batches in timed.items() for batch in batches}


def _machine(latency: Latency) -> list[Any]:
    """On what and how a run was timed, as far as it changes times."""
    return [
        *(latency.environment.get(key) for key in MACHINE),
        *(latency.method.get(key) for key in METHOD),
    ]

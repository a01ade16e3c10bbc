"""The JSON files of a finished run, read and checked once; keys nobody asks for are left alone."""

import reprlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from compressor.errors import RunError
from compressor.files import read_json
from compressor.report.built import BuiltPlan
from compressor.report.class_counts import ClassCounts
from compressor.report.converted import Converted
from compressor.report.family_file import Family, family_file
from compressor.report.part import Part, Share
from compressor.report.timings import Latency, Percentiles
from compressor.structure import Granularity

Content = TypeVar("Content")

CONVERTED_FILE = "export/precisions.json"
PLANS_FILE = "build/plans.json"


class Network(Part):
    """What is known of the dense or of the slim network.

    ``macs`` are for one image, ``nonzero_params`` are the parameters that are not zero, ``bytes``
    are those of the ONNX file, ``training_macs`` is all the compute that was spent on its training,
    ``latency_ms`` goes by engine and batch size.
    """

    accuracy: Share
    macs: PositiveInt
    params: PositiveInt
    nonzero_params: NonNegativeInt
    bytes: PositiveInt
    training_macs: NonNegativeInt
    latency_ms: dict[str, dict[int, Percentiles]]


class Accuracy(Part):
    """The share of test images that one network gets right."""

    accuracy: Share


class Given(Part):
    """The network as the user gave it, before any training; without an accuracy, why not."""

    weights: str
    accuracy: Share | None
    why_unmeasured: str | None


class Certificate(Part):
    """How far the stripped network is from the masked one."""

    max_rel_diff_fp32: NonNegativeFloat
    max_rel_diff_fp64: NonNegativeFloat
    inputs: PositiveInt


class Exported(Part):
    """One exported file, as it answered when it was run."""

    file: str
    max_rel_diff: NonNegativeFloat
    accuracy: Share
    bound: NonNegativeFloat | None = None
    """On the difference; none where the gate is another, or a run of before does not say."""


class Budget(Part):
    """The size that was asked for and the size that came out; keys as in the recipe."""

    asked: dict[str, Any]
    reached: dict[str, Any]


class Weights(Part):
    """Parameters of the slim network that are not zero, as a share of its own and of dense."""

    granularity: Granularity
    share_of_slim: Share
    share_of_dense: Share

    @property
    def masked(self) -> bool:
        """Whether single weights are left out, beside whole units."""
        return self.granularity != "channel"


class Alignment(Part):
    """How many weights that shrank have widths that suit the target."""

    multiple: PositiveInt
    weights: NonNegativeInt
    aligned: NonNegativeInt
    macs_share: Share


class Summary(Part):
    """``summary.json``."""

    recipe: str
    seed: int
    test_images: PositiveInt
    given: Given | None = None
    dense: Network
    slim: Network
    masked: Accuracy
    stripped_before_tuning: Accuracy
    certificate: Certificate
    verify: list[Exported]
    seconds: dict[str, NonNegativeFloat]
    budget: Budget
    alignment: Alignment
    weights: Weights


class Epoch(Part):
    """One entry of a ``history.json``.

    The path time and the support exist in sparse training of units, the share of weights that are
    kept where single ones are left out, and why the search stopped in the epoch that a rule ended.
    """

    epoch: int
    step: int
    path_time: NonNegativeFloat | None = None
    lr: float
    loss: float
    validation_accuracy: Share
    images_per_second: NonNegativeFloat
    support: dict[str, int] = Field(default_factory=dict)
    kept_share: Share | None = None
    stopped: str | None = None


class Entries(Part):
    """When each unit of one coupling entered the support; a unit that never did has step -1."""

    entry_step: list[int]
    entry_time: list[float | None]

    @model_validator(mode="after")
    def _one_time_for_each_step(self) -> "Entries":
        if len(self.entry_step) != len(self.entry_time):
            raise ValueError(
                f"{len(self.entry_step)} entry steps stand beside {len(self.entry_time)} times"
            )
        return self

    def times(self) -> list[float]:
        """Path times at which units entered, in order; as many as units that entered."""
        pairs = zip(self.entry_step, self.entry_time, strict=True)
        return sorted(time for step, time in pairs if step >= 0 and time is not None)


class EntryPath(Part):
    """``train/path.json``."""

    method: str
    couplings: dict[str, Entries]

    def is_empty(self) -> bool:
        """Whether no unit of any coupling has an entry time."""
        return not any(entries.times() for entries in self.couplings.values())


class Width(Part):
    """One entry of ``strip/widths.json``."""

    coupling: str
    units: PositiveInt
    kept: NonNegativeInt
    share_of_macs: NonNegativeFloat


class Places(Part):
    """``places.json``: folders of the network's file, and the user's data, if it is that."""

    model_folders: list[str] = Field(default_factory=list)
    data: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report is made from.

    ``converted`` are the files in other precisions, ``plans`` those of TensorRT, ``classes`` the
    counts on test images, ``certificate`` the whole of it, ``places`` where files that the recipe
    names were looked up, ``family`` other sizes made from the run. Runs of before lack some.
    """

    summary: Summary
    dense_history: list[Epoch]
    train_history: list[Epoch]
    tune_history: list[Epoch]
    path: EntryPath
    widths: list[Width]
    latency: Latency
    converted: list[Converted]
    plans: list[BuiltPlan]
    classes: list[ClassCounts]
    certificate: dict[str, Any]
    places: Places
    family: Family | None
    environment: dict[str, Any]
    settings: dict[str, Any]


def read_run(folder: Path) -> RunRecord:
    """Read the files of the finished run in ``folder``.

    Raises:
        RunError: A file is missing, is not JSON, lacks a key, or holds an impossible value.
    """
    return RunRecord(
        summary=_read(folder, "summary.json", Summary),
        dense_history=_read(folder, "dense/history.json", list[Epoch]),
        train_history=_read(folder, "train/history.json", list[Epoch]),
        tune_history=_read(folder, "tune/history.json", list[Epoch]),
        path=_read(folder, "train/path.json", EntryPath),
        widths=_read(folder, "strip/widths.json", list[Width]),
        latency=_read(folder, "bench/latency.json", Latency),
        converted=_read_if_there(folder, CONVERTED_FILE, list[Converted]),
        plans=_read_if_there(folder, PLANS_FILE, list[BuiltPlan]),
        classes=_read_in(folder, "verify/verify.json", "classes", list[ClassCounts]),
        certificate=_read_if_there(folder, "strip/certificate.json", dict[str, Any]),
        places=_read_if_there(folder, "places.json", Places),
        family=_read_family(folder),
        environment=_read(folder, "environment.json", dict[str, Any]),
        settings=_read(folder, "settings.json", dict[str, Any]),
    )


def _read_if_there(folder: Path, name: str, kind: type[Content]) -> Content:
    """Nothing in a run that made no such files, or of before they were listed."""
    if not (folder / name).exists():
        return kind()
    return _read(folder, name, kind)


def _read_in(folder: Path, name: str, key: str, kind: type[Content]) -> Content:
    """What stands at ``key`` of a file that other parts of a run may lack, or nothing."""
    values = _read_if_there(folder, name, dict[str, Any])
    return _checked(folder / name, values.get(key, kind()), kind, folder)


def _read_family(folder: Path) -> Family | None:
    path = family_file(folder)
    return None if path is None else _read(path.parent, path.name, Family)


def _read(folder: Path, name: str, kind: type[Content]) -> Content:
    path = folder / name
    try:
        content = read_json(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}. {_remedy(folder)}") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}. {_remedy(folder)}") from error
    return _checked(path, content, kind, folder)


def _checked(path: Path, content: object, kind: type[Content], folder: Path) -> Content:
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise RunError(f"{path} {_fault(error.errors()[0])}. {_remedy(folder)}") from error


def _remedy(folder: Path) -> str:
    return f"Make it with `compressor run RECIPE --out {shlex.quote(str(folder))}`."


def _fault(error: ErrorDetails) -> str:
    """What is wrong with a file's content, as the end of a sentence that begins with its name."""
    where = ".".join(str(key) for key in error["loc"])
    if error["type"] == "missing":
        return f"lacks the key {where}"
    place = f"has at {where}" if where else "holds"
    return f"{place} the value {reprlib.repr(error['input'])}: {error['msg']}"

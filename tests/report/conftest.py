"""Builds the folder of a finished run, with the files and keys that a report reads."""

import random
from pathlib import Path
from typing import Any

import pytest

from compressor.bench import environment as machine
from compressor.bench.pair import method
from compressor.bench.timer import BenchSettings
from compressor.files import read_json, write_json
from compressor.recipe import find_recipe, load_recipe
from compressor.report.write import write_report

STAGES = {"layer1": (64, 0.22), "layer2": (128, 0.24), "layer3": (256, 0.26), "layer4": (512, 0.2)}
EPOCHS = {"dense": 30, "train": 24, "tune": 8}
IMAGES_PER_SECOND = {"dense": 1893.4, "train": 1755.2, "tune": 4321.0}
TRAINING_MACS = {556_651_530: 2_504_931_885_000_000, 139_862_696: 3_361_000_000_000_000}
STEPS_PER_EPOCH = 390
PATH_TIME_PER_EPOCH = 0.975


def coupling_widths() -> dict[str, tuple[int, float]]:
    """Units and share of MACs of the couplings of a small residual network."""
    widths = {"stem": (64, 0.08)}
    for stage, (units, share) in STAGES.items():
        widths[f"{stage}.residual"] = (units, share / 2)
        for block in (0, 1):
            widths[f"{stage}.{block}.conv1"] = (units, share / 4)
    return widths


def entries(generator: random.Random, units: int, depth: float) -> dict[str, list[Any]]:
    """Entry steps and times of one coupling; deeper ones enter later and less."""
    last = EPOCHS["train"] * STEPS_PER_EPOCH
    drawn = [int(last * generator.weibullvariate(0.5 + 1.1 * depth, 1.4)) for _ in range(units)]
    steps = [step if step <= last else -1 for step in drawn]
    rate = PATH_TIME_PER_EPOCH / STEPS_PER_EPOCH
    times = [None if step < 0 else round(step * rate, 6) for step in steps]
    return {"entry_step": steps, "entry_time": times, "score": [1.0 / (1 + s) for s in drawn]}


def kept_after(path: dict[str, Any], step: int) -> dict[str, int]:
    return {
        name: sum(0 <= entry <= step for entry in coupling["entry_step"])
        for name, coupling in path["couplings"].items()
    }


def history(
    stage: str, generator: random.Random, top: float, start_gap: float = 0.35
) -> list[dict[str, Any]]:
    """Epochs of one stage: accuracy rises from ``start_gap`` below ``top`` to near it."""
    rows = []
    for epoch in range(1, EPOCHS[stage] + 1):
        gap = start_gap * 0.8**epoch + generator.uniform(0, 0.004)
        rows.append(
            {
                "stage": stage,
                "epoch": epoch,
                "step": epoch * STEPS_PER_EPOCH,
                "lr": 0.1 * (1 - (epoch - 1) / EPOCHS[stage]),
                "loss": 0.21 + 4 * gap,
                "validation_accuracy": round(top - gap, 4),
                "images_per_second": IMAGES_PER_SECOND[stage],
            }
        )
    return rows


def percentiles(p50: float) -> dict[str, float]:
    return {"p50": p50, "p90": round(1.0625 * p50, 6), "p99": round(1.25 * p50, 6)}


def network(accuracy: float, macs: int, params: int, size: int, p50: list[float]) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "macs": macs,
        "params": params,
        "nonzero_params": params,
        "bytes": size,
        "training_macs": TRAINING_MACS[macs],
        "latency_ms": {
            "onnxruntime": {"1": percentiles(p50[0]), "32": percentiles(p50[1])},
            "torch": {"1": percentiles(p50[2]), "32": percentiles(p50[3])},
        },
    }


def summary() -> dict[str, Any]:
    return {
        "recipe": "resnet18-cifar10-split-lbi",
        "seed": 7,
        "test_images": 10_000,
        "dense": network(0.9346, 556_651_530, 11_173_962, 44_732_114, [11.52, 238.4, 14.08, 301.7]),
        "slim": network(0.9334, 139_862_696, 2_346_532, 9_437_184, [4.608, 82.1, 7.432, 120.3]),
        "masked": {"accuracy": 0.9121},
        "stripped_before_tuning": {"accuracy": 0.9122},
        "certificate": {
            "max_rel_diff_fp32": 3.1e-7,
            "max_rel_diff_fp64": 5.7e-16,
            "inputs": 512,
        },
        "verify": [
            {"file": "model.onnx", "max_rel_diff": 8.9e-7, "accuracy": 0.9333},
            {"file": "model.fp16.onnx", "max_rel_diff": 6.4e-4, "accuracy": 0.9332},
            {"file": "model.int8.onnx", "max_rel_diff": 2.3e-2, "accuracy": 0.9308},
        ],
        "seconds": {
            "dense": 792.3,
            "train": 683.0,
            "strip": 1.42,
            "tune": 92.6,
            "export": 14.9,
            "verify": 38.2,
            "bench": 61.7,
        },
        "budget": {
            "asked": {"keep_macs": 0.25},
            "reached": {"macs_share": 0.2513, "params_share": 0.21},
        },
        "alignment": {"multiple": 16, "weights": 8, "aligned": 6, "macs_share": 0.75},
        "weights": {"granularity": "channel", "share_of_slim": 1.0, "share_of_dense": 0.21},
    }


def latency() -> dict[str, Any]:
    runs = summary()
    return {
        "dense": runs["dense"]["latency_ms"],
        "slim": runs["slim"]["latency_ms"],
        "speedup": {
            "onnxruntime": {
                "1": {"median": 2.5, "low": 2.41, "high": 2.58},
                "32": {"median": 2.904, "low": 2.71, "high": 3.05},
            },
            "torch": {
                "1": {"median": 1.894, "low": 1.72, "high": 2.03},
                "32": {"median": 2.508, "low": 2.44, "high": 2.57},
            },
        },
        "environment": timed_on(),
        "method": method(BenchSettings()) | {"clock_facts": {}},
    }


MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "platform": "Linux-6.1-x86_64",
    "cpu": "Some CPU at 2.9 GHz",
    "cores": 16,
    "usable_cores": 16,
    "load_average": [0.1, 0.1, 0.1],
    "torch_threads": 4,
    "omp_num_threads": None,
    "python": "3.12.4",
    "gpu": None,
}
VERSIONS = {"compressor": "0.1.0", "torch": "2.14.1", "onnx": "1.23.0", "onnxruntime": "1.31.0"}


def timed_on() -> dict[str, Any]:
    """What a run records of this machine, with the values of another."""
    found = machine.environment()
    assert (set(MACHINE) - set(found), set(VERSIONS) - set(found["versions"])) == (set(), set())
    return found | MACHINE | {"versions": dict.fromkeys(found["versions"]) | VERSIONS}


def environment() -> dict[str, Any]:
    return timed_on() | {"device": "cpu"}


def settings() -> dict[str, Any]:
    """A shipped recipe as a run dumps it."""
    changes = ("name=resnet18-cifar10-split-lbi", "seed=7", "tune.temperature=4.0")
    return load_recipe(find_recipe("cifar10-resnet20"), changes).model_dump(mode="json")


def build_run(folder: Path, seed: int = 0) -> Path:
    """Write every file of a finished run into ``folder``; the same seed gives the same run."""
    generator = random.Random(seed)
    widths = coupling_widths()
    path = {
        "method": "dessilbi",
        "couplings": {
            name: entries(generator, units, depth / len(widths))
            for depth, (name, (units, _share)) in enumerate(widths.items())
        },
    }
    train = history("train", generator, 0.9180)
    for epoch in train:
        epoch["path_time"] = epoch["epoch"] * PATH_TIME_PER_EPOCH
        epoch["support"] = kept_after(path, epoch["step"])
    write_json(folder / "summary.json", summary())
    write_json(folder / "dense/history.json", history("dense", generator, 0.9362))
    write_json(folder / "train/history.json", train)
    write_json(folder / "tune/history.json", history("tune", generator, 0.9349, start_gap=0.02))
    write_json(folder / "train/path.json", path)
    write_json(folder / "strip/widths.json", width_rows(widths, train[-1]["support"]))
    write_json(folder / "bench/latency.json", latency())
    write_json(folder / "environment.json", environment())
    write_json(folder / "settings.json", settings())
    return folder


def width_rows(
    widths: dict[str, tuple[int, float]], kept: dict[str, int]
) -> list[dict[str, object]]:
    return [
        {"coupling": name, "units": units, "kept": kept[name], "share_of_macs": share}
        for name, (units, share) in widths.items()
    ]


class EditableRun:
    """A finished run whose files a test may change before the report is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> Any:
        """Content of the JSON file ``name``."""
        return read_json(self.folder / name)

    def change(self, name: str, keys: list[str | int], value: object) -> None:
        """Put ``value`` at ``keys`` of the JSON file ``name``."""
        content = read_json(self.folder / name)
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        write_json(self.folder / name, content)

    def drop(self, name: str, keys: list[str | int]) -> None:
        """Take the last of ``keys`` out of the JSON file ``name``."""
        content = read_json(self.folder / name)
        place = content
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        write_json(self.folder / name, content)


@pytest.fixture
def run(tmp_path: Path) -> EditableRun:
    return EditableRun(build_run(tmp_path / "a run"))


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with its reports; read only."""
    folder = build_run(tmp_path_factory.mktemp("reported") / "run")
    write_report(folder)
    return folder

#!/usr/bin/env python3
"""A new user's first quarter of an hour: wheel, install, init, run, six lines that use the package.

    .venv/bin/python tools/trial.py --weights mobilenet_v2.pth [--out runs/trial]

The folder of pictures is one that nobody prepared: 2,000 photographs (CIFAR-10, enlarged) of odd
sizes in unequal classes, some grey, some with transparency, two that cannot be read, and files
that are no pictures. Each step is timed by itself, from a fresh virtual environment on; making
folder and wheel is not the user's. The record is written to ``docs/trial.md``, as JSON beside it.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds import say
from trial_page import as_markdown
from trial_pictures import make_folder

from compressor.bench.environment import environment
from compressor.console import Console
from compressor.data.catalog import DataSettings, data_root, get_data, load_data
from compressor.files import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
Record = dict[str, Any]

RUN = "runs/mine"
SIX_LINES = f"""import sys, torch
from compressor.package import read
package = read("{RUN}/package")
with torch.no_grad():
    logits = package.module(package.preprocessing.read(*sys.argv[1:]))
print([package.labels[number] for number in logits.argmax(dim=1).tolist()])
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Try it, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="of torchvision's mobilenet_v2")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "trial")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    get_data("cifar10", data_root(), Console())
    data = load_data(DataSettings(source="cifar10"), data_root(), 0)
    made = make_folder(options.out / "photos", data.train, data.classes)
    record = tried(options.out.resolve(), options.weights.resolve()) | {"folder": made}
    write_json(options.docs / "trial.json", record)
    write_text(options.docs / "trial.md", as_markdown(record))


def tried(folder: Path, weights: Path) -> Record:
    """Every step in ``folder``, timed."""
    steps = Steps(folder)
    # Of a copy: building leaves files beside the sources.
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "runs", "site"))
    steps.take(
        "wheel", sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", ".", "./source"
    )
    (wheel,) = folder.glob("compressor-*.whl")
    steps.take("venv", sys.executable, "-m", "venv", "venv")
    steps.take("install", "venv/bin/pip", "install", "-q", wheel.name)
    command = "venv/bin/compressor"
    told = steps.take(
        "init", command, "init", "--model", "torchvision:mobilenet_v2", "--weights", str(weights),
        "--data", "photos", "--target", "keep_macs=0.5", "--image-size", "96",
        "--out", "mine.toml", "--yes", "--json",
    )  # fmt: skip
    steps.take("run", command, "run", "mine.toml", "--out", RUN, "--quiet")
    (folder / "six.py").write_text(SIX_LINES, encoding="utf-8")
    picture = next((folder / "photos" / "ship").glob("*.jpg")).relative_to(folder)
    answer = steps.take("six lines", "venv/bin/python", "six.py", str(picture))
    steps.take("dry run", command, "run", "mine.toml", "--out", "runs/dry", "--dry-run")
    forecast = json.loads(told)
    summary = read_json(folder / RUN / "summary.json")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {key: environment()[key] for key in ("cpu", "usable_cores", "versions")},
        "seconds": steps.seconds,
        "forecast_seconds": forecast["forecast_seconds"]["total"],
        "epochs": forecast["epochs"],
        "notices": [
            notice.replace(str(weights.parent) + os.sep, "") for notice in forecast["notices"]
        ],
        "answer": {"picture": str(picture), "labels": answer.strip()},
        "summary": summary,
    }


class Steps:
    """Commands in one folder, each with its seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seconds: dict[str, float] = {}

    def take(self, name: str, *command: str) -> str:
        """Run one; what it printed."""
        started = time.monotonic()
        # The checkout's own modules are not what a user has.
        own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=self._folder, env=own, stdout=subprocess.PIPE, text=True, check=True
        )
        self.seconds[name] = round(time.monotonic() - started, 1)
        say(f"{name}: {self.seconds[name]:.0f} s")
        return done.stdout


if __name__ == "__main__":
    main()

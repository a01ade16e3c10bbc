"""Writes the slim package, and tries it in a process of its own before it stands there."""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compressor.errors import CheckError, ModelError
from compressor.files import whole_file, whole_folder, write_json, write_text
from compressor.package.card import Records as Records
from compressor.package.card import card
from compressor.package.description import Description
from compressor.package.manifest import (
    ARCHITECTURE,
    CERTIFICATE,
    DESCRIPTION,
    ENVIRONMENT,
    ONNX,
    PLAN,
    PROGRAM,
    README,
    RECIPE,
    SAMPLES,
    WEIGHTS,
    seal,
)
from compressor.package.page import page
from compressor.package.program import save_program
from compressor.package.verify import INPUTS, OUTPUTS
from compressor.strip.plan import StripPlan
from compressor.tasks.model import ModelSettings, find_file
from compressor.train.checkpoint import save_weights

HOME = Path(__file__).parents[2]
"""Folder that compressor lies in."""

PLACES = (
    ("data", "path"),
    ("model", "factory"),
    ("model", "weights"),
    ("tensorrt", "timing_cache"),
)
"""Settings of a recipe that name files and folders, by section."""

VERIFY = "from compressor.cli import main; main()"


@dataclass(frozen=True)
class Contents:
    """What goes into a package.

    Attributes:
        description: How the network is built, fed and read; ``model`` as in ``packed_model``.
        module: The slim network, in evaluation mode.
        plan: What made it slim.
        architecture: The Python file that builds it, or None where a library does.
        samples: A few real inputs, shape ``(images, *image_shape)``; their outputs are recorded.
        onnx: The network as ONNX.
        records: What is told of its making.
    """

    description: Description
    module: nn.Module
    plan: StripPlan
    architecture: Path | None
    samples: Tensor
    onnx: Path
    records: Records


def packed_model(
    settings: ModelSettings, folders: tuple[Path, ...]
) -> tuple[ModelSettings, Path | None]:
    """The settings that build the network from a package, and the file that goes with them."""
    home, _, name = settings.factory.rpartition(":")
    # The package's own weights are those of the slim network.
    packed = settings.model_copy(update={"weights": None})
    if not home.endswith(".py"):
        return packed, None
    file = find_file(home, folders)
    return packed.model_copy(update={"factory": f"{ARCHITECTURE}/{file.name}:{name}"}), file


def packed_recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings as JSON, with the last names alone of the files and folders in them.

    Places on a disk are nobody's business, and nothing that reads a package needs them.
    """
    packed: dict[str, Any] = copy.deepcopy(dict(settings))
    for section, key in PLACES:
        values = packed.get(section, {})
        if values.get(key) is not None:
            values[key] = Path(values[key]).name
    return packed


def write_package(folder: Path, contents: Contents) -> None:
    """Make ``folder`` the package; nothing stands there unless it verifies in another process.

    Raises:
        ExportError: The network cannot be exported as a program without a pickle.
        ModelError: It cannot be loaded by itself; mostly the network's file needs another file.
        CheckError: It was loaded, and something did not hold.
    """
    with whole_folder(folder) as made:
        # A temporary folder is private; what it becomes is as open as the folder around it.
        made.chmod(folder.parent.stat().st_mode & 0o777)
        _fill(made, contents)
        seal(made)
        _check_alone(made, contents.architecture)


@torch.no_grad()
def _fill(made: Path, contents: Contents) -> None:
    description, samples, records = contents.description, contents.samples, contents.records
    if contents.architecture is not None:
        (made / ARCHITECTURE).mkdir()
        shutil.copyfile(contents.architecture, made / ARCHITECTURE / contents.architecture.name)
    write_json(made / DESCRIPTION, description.model_dump(mode="json"))
    write_json(made / PLAN, contents.plan.to_json())
    save_weights(made / WEIGHTS, contents.module)
    # Like every file by way of whole_file: safetensors makes private ones.
    with whole_file(made / SAMPLES) as temporary:
        save_file({INPUTS: samples, OUTPUTS: contents.module(samples)}, temporary)
    shutil.copyfile(contents.onnx, made / ONNX)
    save_program(contents.module, description.preprocessing.image_shape, made / PROGRAM)
    write_json(made / CERTIFICATE, records.certificate)
    write_json(made / RECIPE, records.recipe)
    write_json(made / ENVIRONMENT, records.environment)
    told = card(description, contents.plan, records)
    write_text(made / README, f"{told}\n{page(description, len(samples))}")


def _check_alone(made: Path, architecture: Path | None) -> None:
    """Verify where nothing is at hand but the package: no current folder, no modules loaded."""
    made = made.resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [sys.executable, "-P", "-c", VERIFY, "verify", str(made)],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_libraries())},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}."]
    reason = f"The package does not hold by itself: {lines[-1].replace(f'{made}/', '')}"
    if done.returncode == CheckError.exit_status:
        raise CheckError(reason)
    if architecture is not None and ARCHITECTURE in reason:
        reason += f" Only {architecture.name} is packed: put all that it needs into that file."
    raise ModelError(reason)


def _libraries() -> list[str]:
    """Where compressor lies, and what of PYTHONPATH holds installed packages, not loose modules."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    installed = [entry for entry in entries if any(Path(entry).glob("*.dist-info"))]
    return [str(HOME), *installed]

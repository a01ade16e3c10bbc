"""Whether a package holds: its files, its network in three engines, its certificate, its size."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.errors import CheckError
from compressor.export.verify import (
    FP32_TOLERANCE,
    MIN_SPREAD,
    max_rel_diff,
    predictor,
    random_inputs,
    spread,
)
from compressor.files import read_json
from compressor.package.check import check_package
from compressor.package.load import Package, read_checked
from compressor.package.manifest import (
    CERTIFICATE,
    ONNX,
    PROGRAM,
    SAMPLES,
    package_folder,
)
from compressor.package.program import load_program
from compressor.strip.certificate import FP32_BOUND, FP64_BOUND

TORCH_TOLERANCE = 1e-5
"""Between two machines, or the network and its program: the same operators in another order."""

RANDOM_SEED = 1
"""Of the inputs that are not recorded."""

INPUTS, OUTPUTS = "inputs", "outputs"
"""Tensors of the recorded samples."""

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        what: In words.
        found: The figure.
        allowed: What it is held against, in words.
        holds: Whether it is as allowed.
    """

    what: str
    found: float
    allowed: str
    holds: bool

    @property
    def shown(self) -> str:
        """The figure as text."""
        return str(self.found) if isinstance(self.found, int) else f"{self.found:.3g}"

    def to_json(self) -> dict[str, Any]:
        """JSON value; a figure that JSON has no number for is text."""
        return asdict(self) | {"found": self.found if math.isfinite(self.found) else "inf or nan"}


@dataclass(frozen=True)
class Verification:
    """All checks of one package.

    Attributes:
        package: Its folder.
        checks: In the order in which they were made.
    """

    package: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every check does."""
        return all(check.holds for check in self.checks)

    def check(self) -> None:
        """Raise unless every check holds.

        Raises:
            CheckError: Names those that do not.
        """
        failed = [f"{c.what} is {c.shown}, not {c.allowed}" for c in self.checks if not c.holds]
        if failed:
            raise CheckError(
                f"{self.package}: {'; '.join(failed)}. Do not use this package on this machine."
            )

    def to_json(self) -> dict[str, Any]:
        """JSON value."""
        checks = [check.to_json() for check in self.checks]
        return {"package": self.package, "holds": self.holds, "checks": checks}

    def table(self) -> str:
        """One line for each check."""
        rows = [("check", "found", "allowed", "")]
        rows += [
            (c.what, c.shown, c.allowed, "holds" if c.holds else "DOES NOT HOLD")
            for c in self.checks
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines) + "\n"


def verify_package(path: str | os.PathLike[str]) -> Verification:
    """What holds of the package in ``path`` on this machine, without a GPU or a network.

    The certificate's comparison needs the network before stripping, which is not in the package;
    its figures are held against their bounds, and everything else is computed anew.

    Args:
        path: Folder of the package, or a run directory that has one.

    Raises:
        CheckError: A file was changed or may hold a pickle or code, so nothing of it was used; or
            torch cannot read the program.
        ModelError: There is no package, or its network cannot be built here.
    """
    folder = package_folder(path)
    # Before anything of it is read: torch unpickles and evaluates parts of a program.
    num_files = check_package(folder)
    package = read_checked(folder)
    samples = load_file(folder / SAMPLES)
    checks = (
        _exact("files that are as packaged, no pickle in them", num_files, num_files),
        *_outputs(package, folder, samples),
        *_certificate(read_json(folder / CERTIFICATE)),
        _exact("parameters", _num_parameters(package), package.description.counts.params),
    )
    return Verification(str(folder), checks)


def _exact(what: str, found: int, expected: int) -> Check:
    return Check(what, found, str(expected), found == expected)


def _at_most(what: str, found: float, bound: float) -> Check:
    # Written so that NaN does not pass.
    return Check(what, found, f"<= {bound:g}", found <= bound)


def _above(what: str, found: float, bound: float) -> Check:
    return Check(what, found, f"> {bound:g}", found > bound)


@torch.no_grad()
def _outputs(package: Package, folder: Path, samples: Mapping[str, Tensor]) -> list[Check]:
    """The network against its recorded outputs, and its files against the network."""
    module, shape = package.module, package.preprocessing.image_shape
    recorded = _difference([samples[OUTPUTS]], module, [samples[INPUTS]])
    checks = [
        _exact("outputs", samples[OUTPUTS].shape[-1], len(package.labels)),
        _above("spread of outputs over the samples", spread(samples[OUTPUTS]), MIN_SPREAD),
        _at_most("network against recorded outputs", recorded, TORCH_TOLERANCE),
    ]
    onnx_runner = OnnxRuntimeRunner(folder / ONNX, torch.get_num_threads())
    engines: tuple[tuple[str, Predict, float], ...] = (
        ("torch.export program", load_program(folder / PROGRAM), TORCH_TOLERANCE),
        ("ONNX file", predictor(onnx_runner), FP32_TOLERANCE),
    )
    for kind, inputs in (
        ("samples", [samples[INPUTS]]),
        ("random images", random_inputs(shape, RANDOM_SEED)),
    ):
        expected = [module(batch) for batch in inputs]
        for name, predict, bound in engines:
            difference = _difference(expected, predict, inputs)
            checks.append(_at_most(f"{name} against network, {kind}", difference, bound))
    return checks


def _difference(expected: Sequence[Tensor], predict: Predict, inputs: Sequence[Tensor]) -> float:
    """Largest relative difference over the batches; infinite where a shape differs."""
    differences = []
    for output, batch in zip(expected, inputs, strict=True):
        found = predict(batch)
        differences.append(max_rel_diff(output, found) if found.shape == output.shape else math.inf)
    # Unlike max(), which may drop a NaN.
    return torch.tensor(differences, dtype=torch.float64).max().item()


def _certificate(certificate: Mapping[str, Any]) -> list[Check]:
    return [
        _at_most(
            "certificate, stripped against masked, float32",
            certificate["max_rel_diff_fp32"],
            FP32_BOUND,
        ),
        _at_most(
            "certificate, stripped against masked, float64",
            certificate["max_rel_diff_fp64"],
            FP64_BOUND,
        ),
        _above("certificate, spread of outputs", certificate["output_spread"], FP32_BOUND),
    ]


def _num_parameters(package: Package) -> int:
    return sum(parameter.numel() for parameter in package.module.parameters())

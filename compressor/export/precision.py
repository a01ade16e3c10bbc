"""One network in one profile: written, its accuracy gated, its outputs compared.

The accuracy on the validation images decides. Where the converted network loses more than may be
lost, the layers that cost it are searched, stay in float32, and are named in the record.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator
from torch import Tensor

from compressor.bench.onnxruntime_runner import OnnxRuntimeRunner
from compressor.bench.runner import Runner
from compressor.errors import DataError
from compressor.export.culprits import Search, find_culprits
from compressor.export.precision_figures import Figures, check_distance, figures
from compressor.export.precision_runner import computed_in, measuring_runner
from compressor.export.precision_writers import Source, Writer, open_writer
from compressor.export.profiles import PROFILES, Profile, ProfileName
from compressor.export.quant_calibration import QuantSettings
from compressor.export.verify import of_all_sizes, predictor
from compressor.files import sha256, whole_file
from compressor.settings import Settings
from compressor.tasks.task import Predict

Accuracy = Callable[[Predict], float]
"""Accuracy in [0, 1], on the validation images, of whatever makes logits of images."""


class GateSettings(Settings):
    """What a converted file may lose."""

    max_accuracy_drop: float = Field(default=0.005, ge=0, le=1)
    """Accuracy on the validation images that may be lost against the float32 file, in [0, 1]."""
    max_evaluations: int = Field(default=40, ge=1)
    """Times that the network may be rebuilt and measured, the first included. Finding one layer
    among fifty takes about fifteen."""


class PrecisionSettings(Settings):
    """In which other precisions the slim network is written, and how."""

    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    profiles: tuple[ProfileName, ...] = Field(default=(), strict=False)
    """Kinds of file beside the float32 one, each for the engines it is named after."""
    quant: QuantSettings = Field(default_factory=QuantSettings)
    """Calibration of int8 and fp8."""
    gate: GateSettings = Field(default_factory=GateSettings)
    """What they may lose."""
    num_threads: int = Field(default=1, ge=1)
    """Threads with which files are measured."""

    @model_validator(mode="after")
    def _each_profile_once(self) -> Self:
        if len(set(self.profiles)) < len(self.profiles):
            raise ValueError(
                f"profiles names one value twice: {list(self.profiles)}. Name each once."
            )
        return self

    @model_validator(mode="after")
    def _all_has_an_effect(self) -> Self:
        # Compared with the defaults: recipes are stored with every field.
        unset = PrecisionSettings.model_construct()
        for key, reader in self._unread().items():
            if attrgetter(key)(self) != attrgetter(key)(unset):
                raise ValueError(
                    f"{key} has no effect without {reader}, and profiles = {list(self.profiles)}; "
                    "leave it out"
                )
        return self

    def _unread(self) -> dict[str, str]:
        """Keys of the settings that no profile asked for reads, and what would."""
        profiles = [PROFILES[name] for name in self.profiles]
        if not profiles:
            return dict.fromkeys(("quant", "gate", "num_threads"), "a profile")
        unread = {}
        if all(profile.precision == "bf16" for profile in profiles):
            unread["gate.max_evaluations"] = "a profile other than bf16"
        quantisers = [profile.quantiser for profile in profiles if profile.quantiser is not None]
        if not quantisers:
            unread["quant"] = "an int8 or fp8 profile"
        elif all(quantiser.method is not None for quantiser in quantisers):
            unread |= dict.fromkeys(("quant.method", "quant.percentile"), "an int8 profile")
        return unread


@dataclass(frozen=True)
class Yardstick:
    """What files are held against.

    Attributes:
        compared: Images on which outputs are compared, at least one; shape
            ``(images, *image_shape)``, as the network gets them.
        accuracy: On the validation images.
    """

    compared: Tensor
    accuracy: Accuracy


@dataclass(frozen=True)
class PrecisionRecord:
    """What was made.

    Attributes:
        profile: Name of the profile.
        file: Name of the file.
        sha256: Of the file.
        num_bytes: Of the file.
        engines: Those that may run it.
        measured_by: What computed accuracy and figures.
        computed_in: In what it did, on the machine that wrote the file.
        float_accuracy: Of the float32 file, in [0, 1].
        search: Accuracy of the file, the layers kept in float32, and what each try reached.
        figures: Outputs against those of the float32 file.
    """

    profile: str
    file: str
    sha256: str
    num_bytes: int
    engines: tuple[str, ...]
    measured_by: str
    computed_in: str
    float_accuracy: float
    search: Search
    figures: Figures

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def make_file(
    profile: Profile, source: Source, yardstick: Yardstick, path: Path, settings: PrecisionSettings
) -> PrecisionRecord:
    """Write the network of ``source`` in ``profile`` to ``path``; nothing stays there on failure.

    Raises:
        CheckError: The accuracy asked for is not reached whichever layers are kept, or there is
            one try alone and it fails; outputs are no finite numbers, or too far from the float32
            ones.
        DataError: The calibration images cannot be used, or there are none to compare on.
        ExportError: The network cannot be written in this profile.
        MissingExtra: A package is not installed.
    """
    if len(yardstick.compared) == 0:
        raise DataError("There are no images to compare outputs on. Give at least one.")
    with (
        closing(OnnxRuntimeRunner(source.float_path, settings.num_threads)) as reference,
        open_writer(profile, source, settings.quant) as writer,
        tempfile.TemporaryDirectory(prefix="compressor-precision-") as folder,
    ):
        bench = _Bench(profile, yardstick, settings, Path(folder) / path.name)
        float_accuracy = yardstick.accuracy(predictor(reference))
        search = bench.gated(writer, float_accuracy)
        # The search may have ended on another set than the one that it chose.
        writer.write(bench.file, frozenset(search.kept))
        measured = bench.figures(reference)
        check_distance(measured.relative_l2, profile.precision, path)
        with whole_file(path) as temporary:
            shutil.copyfile(bench.file, temporary)
    return PrecisionRecord(
        profile=profile.name,
        file=path.name,
        sha256=sha256(path),
        num_bytes=path.stat().st_size,
        engines=profile.engines,
        measured_by=profile.measured_by,
        computed_in=computed_in(profile),
        float_accuracy=float_accuracy,
        search=search,
        figures=measured,
    )


@dataclass(frozen=True)
class _Bench:
    """Where tries are written and measured."""

    profile: Profile
    yardstick: Yardstick
    settings: PrecisionSettings
    file: Path

    def gated(self, writer: Writer, float_accuracy: float) -> Search:
        """The layers to keep so that no more accuracy is lost than may be."""

        def accuracy_of(kept: frozenset[str]) -> float:
            writer.write(self.file, kept)
            with closing(self._runner()) as runner:
                return self.yardstick.accuracy(predictor(runner))

        gate = self.settings.gate
        needed = float_accuracy - gate.max_accuracy_drop
        return find_culprits(writer.layers, accuracy_of, needed, gate.max_evaluations, self._name())

    def figures(self, reference: Runner) -> Figures:
        """Outputs of the file against those of the float32 one."""
        with closing(self._runner()) as runner:
            batches = of_all_sizes(self.yardstick.compared)
            return figures(reference, runner, batches, self._name())

    def _name(self) -> str:
        """What errors call the file."""
        return f"{self.file.name} (profile {self.profile.name})"

    def _runner(self) -> Runner:
        return measuring_runner(self.profile, self.file, self.settings.num_threads)

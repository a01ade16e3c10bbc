"""Networks in int8 and fp8: QuantizeLinear and DequantizeLinear written into the ONNX graph."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch

from compressor.bench.runner import import_engine
from compressor.chatter import no_chatter
from compressor.errors import ExportError
from compressor.export.profiles import Profile
from compressor.export.quant_calibration import (
    METHOD_NAMES,
    CalibrationReader,
    QuantSettings,
    calibration_images,
    input_of,
)
from compressor.export.quant_layers import Layers, layers_of, name_nodes_, nodes_of
from compressor.export.structure_checks import fault_of_validity
from compressor.file_profile import FileProfile, note_profile_
from compressor.files import sha256, whole_file

PREPARED = "prepared.onnx"

FAULTS = (ValueError, RuntimeError, KeyError)
"""With these ONNX Runtime's quantiser gives up on a graph."""


class Quantised:
    """Writes one network in one quantised profile, as often as asked, calibrated once.

    To be used as a context: its working files, as large as the network, go with it.

    Args:
        profile: With a quantiser.
        source: The float32 file.
        images: Training images as the network gets them, float32, shape ``(images, channels,
            height, width)``, at least as many as the settings ask for.
        settings: How ranges are found.

    Raises:
        DataError: The images cannot be used.
        ExportError: The file is not one that this project exported, or cannot be read; as the
            context is entered: it cannot be prepared.
        MissingExtra: ONNX or ONNX Runtime is not installed.
    """

    def __init__(
        self, profile: Profile, source: Path, images: torch.Tensor | None, settings: QuantSettings
    ) -> None:
        assert profile.quantiser is not None, f"{profile.name} has no quantiser"
        self._profile, self._quantiser, self._settings = profile, profile.quantiser, settings
        self._images = calibration_images(images, source, settings)
        self._input_name, _shape = input_of(source)
        self._origin = sha256(source)
        self._source = source
        self._context = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as context:
            folder = tempfile.TemporaryDirectory(prefix="compressor-quant-")
            self._folder = Path(context.enter_context(folder))
            self.layers: Layers = prepare(self._source, self._folder / PREPARED)
            self._context = context.pop_all()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._context.close()

    def note(self) -> FileProfile:
        """What the written files say of themselves."""
        calibration: dict[str, Any] = {"method": self.method, "num_images": len(self._images)}
        if self.method == "percentile" and self._settings.percentile is not None:
            calibration["percentile"] = self._settings.percentile
        return FileProfile(self._profile.name, self._profile.engines, self._origin, calibration)

    @property
    def method(self) -> str:
        """How ranges are found: the type's only method, where it has but one."""
        return self._quantiser.method or self._settings.method

    def write(self, path: Path, kept: frozenset[str]) -> None:
        """Write the network to ``path``, the layers in ``kept`` in float32.

        The first call runs the calibration images through the network; later ones reuse the ranges.

        Raises:
            ExportError: The quantiser gave up, or ONNX's checker refuses what it wrote.
        """
        onnx = import_engine("onnx", "onnx")
        quantised = self._folder / "quantised.onnx"
        with _quiet():
            self._quantise(quantised, nodes_of(self.layers, kept))
        proto = onnx.load(str(quantised))
        quantised.unlink()
        keep_used_opsets_(proto)
        note_profile_(proto, self.note())
        with whole_file(path) as temporary:
            temporary.write_bytes(proto.SerializeToString(deterministic=True))
            if fault := fault_of_validity(onnx, temporary):
                raise ExportError(f"{path}: {fault}")

    def _quantise(self, target: Path, excluded: list[str]) -> None:
        quantization = import_engine("onnxruntime.quantization", "onnxruntime")
        types, methods = quantization.QuantType, quantization.CalibrationMethod
        # One batch at a time: without it every activation of every image is held at once.
        options: dict[str, Any] = {**self._quantiser.options, "CalibStridedMinMax": 1}
        if self._settings.percentile is not None:
            options["CalibPercentile"] = self._settings.percentile
        try:
            quantization.quantize_static(
                str(self._folder / PREPARED),
                str(target),
                CalibrationReader(self._images, self._input_name, self._settings.batch_size),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=self._quantiser.per_channel,
                activation_type=types[self._quantiser.activations],
                weight_type=types[self._quantiser.weights],
                calibrate_method=methods[METHOD_NAMES[self.method]],
                nodes_to_exclude=excluded,
                extra_options=options,
                calibration_cache_path=self._folder / "ranges.json",
            )
        except FAULTS as failure:
            raise ExportError(
                f"The network cannot be written as {self._profile.name}: {_reason(failure)}. "
                "Choose another profile."
            ) from failure


def prepare(source: Path, target: Path) -> Layers:
    """Write ``source`` in the form that the quantiser wants, shapes known and constants folded.

    Returns:
        The layers of what was written.

    Raises:
        ExportError: ONNX Runtime or ONNX cannot work out its shapes.
        MissingExtra: ONNX or ONNX Runtime is not installed.
    """
    onnx = import_engine("onnx", "onnx")
    shapes = import_engine("onnxruntime.quantization.shape_inference", "onnxruntime")
    # Its symbolic shapes add nothing to those that the exporter wrote, and may fail.
    try:
        with _quiet():
            shapes.quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    except (*FAULTS, onnx.shape_inference.InferenceError) as failure:
        raise ExportError(
            f"{source} cannot be prepared for 8-bit numbers: {_reason(failure)}. "
            "Export the network again, or leave the int8 and fp8 profiles out."
        ) from failure
    proto = onnx.load(str(target))
    name_nodes_(proto.graph)
    onnx.save(proto, str(target))
    return layers_of(proto.graph)


def _reason(failure: Exception) -> str:
    """The first line of what ``failure`` says."""
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0].rstrip(".")


def keep_used_opsets_(proto: Any) -> None:
    """Drop operator sets that ONNX Runtime adds for no node: other parsers may not know them."""
    used = {node.domain for node in proto.graph.node} | {""}
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress lines and warnings of the quantiser, which prints to stdout."""
    with no_chatter(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""What measures the accuracy of a file whose engine may not be on this machine."""

from pathlib import Path
from typing import Any

from compressor.bench.engines import OPENERS, OpenFile
from compressor.bench.onnxruntime_runner import (
    CPU_PROVIDER,
    LOG_ERRORS,
    OnnxRuntimeRunner,
    refusals,
)
from compressor.bench.openvino_runner import OpenVinoRunner, computes_bf16
from compressor.bench.runner import Runner, import_engine
from compressor.errors import ModelError
from compressor.export.precision_twin import float32_twin
from compressor.export.profiles import MeasuredBy, Profile
from compressor.export.quant_calibration import input_of


class AsWrittenRunner(OnnxRuntimeRunner):
    """Computes an ONNX file node by node as it is written, whatever engine it was made for.

    Slow, and the same on every machine: nothing is fused, so no kernel of 8-bit numbers is used,
    which may saturate on older processors, and what is float16 is rounded to it. It says what a
    file computes, not how fast.

    Raises:
        ModelError: There is no such file, it is not ONNX, or it cannot be run.
        ExportError: It takes more than one input.
        MissingExtra: ONNX or ONNX Runtime is not installed.
    """

    engine = "onnxruntime-as-written"

    def _open(self, path: Path, num_threads: int) -> Any:
        input_of(path)
        ort = import_engine("onnxruntime", "onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = LOG_ERRORS
        twin = float32_twin(import_engine("onnx", "onnx").load(str(path)))
        try:
            return ort.InferenceSession(twin.SerializeToString(), options, providers=[CPU_PROVIDER])
        except refusals() as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path} cannot be computed: {reason}. Write it again.") from error


MEASURES: dict[MeasuredBy, OpenFile] = {
    "onnxruntime": OPENERS["onnxruntime"],
    "onnxruntime-as-written": AsWrittenRunner,
    # On any processor: asked for bfloat16 it refuses where there is none. Layers of a bfloat16 or
    # int8 graph it computes so in any case where it can; the hint speaks of the float32 rest.
    "openvino": lambda path, num_threads: OpenVinoRunner(path, num_threads, "f32"),
}
"""What measures files, by the names in the profiles: engines, and one file as it is written."""


def measuring_runner(profile: Profile, path: Path, num_threads: int) -> Runner:
    """A runner for the file at ``path``, of ``profile``, on this machine's CPU.

    Raises:
        ModelError: The file cannot be run.
        MissingExtra: What measures this profile is not installed.
    """
    return MEASURES[profile.measured_by](path, num_threads)


def computed_in(profile: Profile) -> str:
    """In what the measuring runner of ``profile`` computes on this machine, in words.

    Raises:
        MissingExtra: OpenVINO measures a bfloat16 file, and is not installed.
    """
    if profile.measured_by == "onnxruntime-as-written":
        rounding = "after each node" if profile.precision == "fp16" else "where the file says so"
        return f"float32, rounded to {profile.precision} {rounding}"
    if profile.precision == "bf16" and not computes_bf16():
        return "float32, with weights rounded to bf16: this processor has no bfloat16"
    return profile.precision

"""The one list of profiles: in which precision a file may be written, and for which engines.

The choices are measured. ONNX Runtime on x86 is fastest with unsigned activations and signed
weights; TensorRT refuses non-zero zero points and quantised biases, so its graph is symmetric.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from compressor.engines import FILE_ENGINE_NAMES, GPU_ENGINES, EngineName, Precision
from compressor.errors import RecipeError

ProfileName = Literal[
    "fp16", "bf16", "int8-ort-cpu", "int8-openvino", "int8-tensorrt", "fp8-tensorrt"
]
"""Those that can be asked for; float32 is always written."""

MeasuredBy = Literal["onnxruntime", "onnxruntime-as-written", "openvino"]
"""What runs a file when its accuracy is measured without the device that it is for.

As written means: with no optimisation of the graph, so that each QuantizeLinear is computed for
itself and what lies between two of them in float32, and what is float16 is rounded to it. That is
what the file defines, on any machine.
"""


@dataclass(frozen=True)
class Quantiser:
    """How ONNX Runtime's quantiser writes the graph.

    Attributes:
        activations: Name of its ``QuantType`` for activations.
        weights: Name of its ``QuantType`` for weights.
        per_channel: One scale for each output channel of a weight.
        options: Its extra options.
        method: The only calibration method that the type allows; ``None`` if the user chooses.
    """

    activations: str
    weights: str
    per_channel: bool
    options: Mapping[str, bool] = field(default_factory=dict)
    method: str | None = None


@dataclass(frozen=True)
class Profile:
    """One kind of file.

    Attributes:
        name: Its name in the list, and in the file's metadata.
        precision: That of its weights and activations; inputs and outputs are always float32.
        engines: Those that may run it.
        measured_by: What its accuracy is measured with.
        quantiser: Of int8 and fp8 alone.
    """

    name: str
    precision: Precision
    engines: tuple[EngineName, ...]
    measured_by: MeasuredBy
    quantiser: Quantiser | None = None


SYMMETRIC: Mapping[str, bool] = {
    "ActivationSymmetric": True,
    "CalibTensorRangeSymmetric": True,
    # Its bias would be int32 behind a DequantizeLinear, which TensorRT's parser refuses.
    "QuantizeBias": False,
}

_LIST = (
    Profile("fp32", "fp32", FILE_ENGINE_NAMES, "onnxruntime"),
    # Where it runs in float32 instead, as in ONNX Runtime on a CPU, it is never less exact.
    Profile("fp16", "fp16", FILE_ENGINE_NAMES, "onnxruntime-as-written"),
    # ONNX Runtime's CPU provider has no bfloat16 convolution.
    Profile("bf16", "bf16", ("openvino", *GPU_ENGINES), "openvino"),
    Profile(
        *("int8-ort-cpu", "int8", ("onnxruntime",), "onnxruntime"),
        Quantiser(
            "QUInt8", "QInt8", per_channel=True, options={"CalibTensorRangeSymmetric": False}
        ),
    ),
    Profile(
        *("int8-openvino", "int8", ("openvino",), "openvino"),
        Quantiser(
            *("QUInt8", "QInt8"),
            per_channel=True,
            options={"CalibTensorRangeSymmetric": False, "QuantizeBias": False},
        ),
    ),
    Profile(
        *("int8-tensorrt", "int8", GPU_ENGINES, "onnxruntime-as-written"),
        Quantiser("QInt8", "QInt8", per_channel=True, options=SYMMETRIC),
    ),
    Profile(
        *("fp8-tensorrt", "fp8", GPU_ENGINES, "onnxruntime-as-written"),
        Quantiser(
            *("QFLOAT8E4M3FN", "QFLOAT8E4M3FN"),
            per_channel=False,
            options={"ActivationSymmetric": True, "QuantizeBias": False},
            method="distribution",
        ),
    ),
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _LIST}
"""All profiles by name."""


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        RecipeError: There is none; the message lists those that there are.
    """
    if name not in PROFILES:
        raise RecipeError(f"There is no profile {name!r}. Choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def profile_for(engine: EngineName, precision: Precision) -> Profile:
    """The one profile of ``precision`` that ``engine`` runs; the engine computes in it."""
    (profile,) = [p for p in _LIST if engine in p.engines and p.precision == precision]
    return profile

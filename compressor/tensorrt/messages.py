"""What the engine says: its log kept, its errors in one line, and what to do about those known."""

import re
from dataclasses import dataclass, field
from typing import Any

ERRORS = ("INTERNAL_ERROR", "ERROR")
SPARSITY = "(Sparsity)"

# Where in NVIDIA's sources an error arose: "In compileGraph at /_src/x.cpp:2012", "[x.cpp:337: f]".
SOURCE = re.compile(r"\s*\bIn \w+ at \S+?(?=\)|\s|$)|\[\w+\.(?:cpp|h):\d+: \w+\]\s*")
ORIGIN = re.compile(r"^(?:\w+::\w+: )?Error Code \d+: [\w ]+ \(")
NO_DRIVER = "CUDA driver version is insufficient"


@dataclass
class Messages:
    """What was logged, as text: warnings, errors, and what the builder says of sparse layers."""

    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sparsity: list[str] = field(default_factory=list)

    def keep(self, severity: str, text: str) -> None:
        """Sort one message in; what is neither an error, a warning nor on sparsity is dropped."""
        if severity in ERRORS:
            self.errors.append(text)
        elif severity == "WARNING":
            self.warnings.append(text)
        elif SPARSITY in text:
            self.sparsity.append(text)


def make_logger(trt: Any, messages: Messages) -> Any:
    """A logger of the module ``trt`` that fills ``messages``.

    The class is made here since its base belongs to the module that was passed in.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            messages.keep(severity.name, message)

    return Logger()


@dataclass(frozen=True)
class Advice:
    """What to do about a message of the engine.

    Attributes:
        pattern: Found in the message.
        text: One sentence for the user.
    """

    pattern: str
    text: str


ADVICE = (
    Advice(
        "no optimization profile",
        "Its inputs have free sizes: set batch with min, opt and max.",
    ),
    Advice(
        "workspace|OutOfMemory|out of memory",
        "Raise workspace_bytes, or leave it out.",
    ),
    Advice(
        "type Int32 but must have type",
        "A bias is quantised: quantise again for the profile int8-tensorrt, which leaves them out.",
    ),
    Advice(
        "[Nn]on-zero zero point|shiftIsAllZeros|UINT8_AND_ASYMMETRIC",
        "Activations must be symmetric int8: quantise again for the profile int8-tensorrt.",
    ),
    Advice(
        "HW-specific data ?types",
        "A GPU asked for cannot compute in this type (fp8 needs compute capability 8.9): build for "
        "later GPUs alone, or export int8 or fp16.",
    ),
    Advice(
        "for Turing",
        "Leave compute capability 7.5 (SM75) out, or export fp16.",
    ),
    Advice(
        "must be of same type.*(?:BFloat16|Half)",
        "Weights and activations differ in type: fold the norms into the convolutions before the "
        "network is converted, and export again.",
    ),
    Advice(
        "nvinfer_lean",
        "version_compatible needs TensorRT's lean library: install it, or leave that out.",
    ),
    Advice(
        "cudaError|CUDA_SUCCESS|CUDA driver",
        "This needs a GPU and its driver: run it where there is one, or leave out refit and what "
        "else is made for the GPU at hand.",
    ),
)


def advice(text: str) -> str:
    """What to do about the engine's message, one sentence; asks for a report if it is unknown."""
    for entry in ADVICE:
        if re.search(entry.pattern, text, re.DOTALL):
            return entry.text
    return "Change the network there, or try another release of the engine."


def one_line(text: str) -> str:
    """The engine's message without places in its sources and without repetitions.

    Where there is no driver, each message also ends in a complaint about that, which is only kept
    if nothing else was said.
    """
    lines = [plain(line) for line in text.splitlines()]
    told = [line for line in dict.fromkeys(lines) if line]
    real = [line for line in told if NO_DRIVER not in line]
    return "; ".join(real or told)


def plain(line: str) -> str:
    """One line of the engine's message without its origin; brackets that were opened are closed."""
    text = ORIGIN.sub("", SOURCE.sub("", line))
    text = text.strip().rstrip(";. ")
    while text.count(")") > text.count("(") and text.endswith(")"):
        text = text[:-1].rstrip(";. ")
    return text

"""What can be timed by name: an engine and a file that it runs, written ``engine:path``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.bench.engines import OPENERS
from compressor.bench.onnx_input import ImageShape, onnx_image_shape
from compressor.bench.runner import Runner
from compressor.engines import ENGINES, FILE_ENGINE_NAMES, Engine, EngineName, Form
from compressor.errors import ModelError
from compressor.tensorrt.sidecar import read_sidecar

DEFAULT_ENGINE = FILE_ENGINE_NAMES[0]


@dataclass(frozen=True)
class FileEngine:
    """An engine that runs files.

    Attributes:
        open: Makes a runner of a file and a number of threads.
        image_shape: Channels, height, width of the images that a file takes; refuses a file that
            is not for this engine or not a network for images.
        package: The distribution whose version the record gives.
        facts: What a record must say of times from this engine: ``device``, ``precision``,
            ``transfers``, ``cuda_graph``, ``spin``, and to what of trtexec they are
            ``comparable_to_trtexec``.
    """

    open: Callable[[Path, int], Runner]
    image_shape: Callable[[Path], ImageShape]
    package: str
    facts: Mapping[str, str]


CPU_FACTS = {
    "device": "cpu",
    "precision": "as each subject's precision.computed says",
    "transfers": "none: inputs and outputs stay in this machine's memory",
    "cuda_graph": "not applicable: no GPU",
    "spin": "threads spin inside a run and stop at its end",
    "comparable_to_trtexec": "not comparable: CPU",
}

GPU_FACTS = {
    "device": "cuda",
    "precision": "as each subject's precision.computed says, read back from the plan",
    "transfers": "the input lies on the GPU; the output is copied to the CPU in each run",
    "cuda_graph": "where a run could be captured, as each subject's runner.launched says",
    "spin": "the stream is waited for",
    "comparable_to_trtexec": "not comparable: wall time of a run with its output's copy",
}


def plan_image_shape(plan: Path) -> ImageShape:
    """Shape of the images that a plan takes, from its sidecar.

    Raises:
        ModelError: It has none, or the network takes something else than images.
    """
    shapes = list(read_sidecar(plan).shapes.values())
    if len(shapes) != 1 or len(shapes[0].opt) != IMAGE_AXES:
        raise ModelError(f"{plan} takes something else than one batch of images. Give another.")
    _batch, channels, height, width = shapes[0].opt
    return channels, height, width


IMAGE_AXES = 4
"""Batch, channels, height, width."""

IMAGE_SHAPES: Mapping[Form, Callable[[Path], ImageShape]] = {
    "onnx": onnx_image_shape,
    "plan": plan_image_shape,
}
"""What finds the images that a file takes, by its form."""

OWN_FACTS: Mapping[EngineName, Mapping[str, str]] = {
    "openvino": {
        "precision": "as each subject's precision.computed says, which was asked for and read back",
        "spin": "as OpenVINO does",
    },
}
"""Where an engine differs from the others of its device."""


def _file_engine(engine: Engine) -> FileEngine:
    of_device = GPU_FACTS if engine.device == "cuda" else CPU_FACTS
    return FileEngine(
        OPENERS[engine.name],
        IMAGE_SHAPES[engine.runs],
        engine.package,
        {**of_device, **OWN_FACTS.get(engine.name, {})},
    )


FILE_ENGINES: dict[str, FileEngine] = {
    str(name): _file_engine(ENGINES[name]) for name in FILE_ENGINE_NAMES
}
"""Engines that run files, by name."""


@dataclass(frozen=True)
class Subject:
    """One file on one engine.

    Attributes:
        name: What tables and records call it; no two subjects of a comparison have the same.
        engine: A key of `FILE_ENGINES`.
        path: The file.
    """

    name: str
    engine: str
    path: Path

    @property
    def runs_on(self) -> FileEngine:
        """Its engine."""
        return FILE_ENGINES[self.engine]


def parse_subjects(texts: Sequence[str]) -> list[Subject]:
    """The subjects that ``texts`` name, in their order.

    One file may be named twice, alone to see how far apart two equal things come out; the second
    is then called ``name#2``.

    Raises:
        ModelError: A text names an engine that does not run files, or a file that is not there.
    """
    subjects: list[Subject] = []
    seen: dict[str, int] = {}
    for text in texts:
        engine, path = split(text)
        if not path.is_file():
            raise ModelError(f"{path}: there is no such file to time. Export the network first.")
        seen[text] = seen.get(text, 0) + 1
        name = text if seen[text] == 1 else f"{text}#{seen[text]}"
        subjects.append(Subject(name, engine, path))
    return subjects


def split(text: str) -> tuple[str, Path]:
    """Engine and path of ``engine:path`` or of ``path``, which the file's kind has an engine for.

    Raises:
        ModelError: What stands before the colon is not an engine, and no file has the whole name;
            or a plan's sidecar, which says whose it is, cannot be read.
    """
    engine, colon, rest = text.partition(":")
    if colon and engine in FILE_ENGINES:
        return engine, Path(rest)
    if colon and "/" not in engine and not Path(text).exists():
        raise ModelError(
            f"{text}: {engine!r} is not an engine that runs files. "
            f"Give engine:path with one of {', '.join(FILE_ENGINES)}, or a path alone."
        )
    path = Path(text)
    if path.suffix == PLAN_SUFFIX:
        return read_sidecar(path).built_with.flavour, path
    return DEFAULT_ENGINE, path


def is_subject(text: str) -> bool:
    """Whether ``text`` names a file to time rather than a recipe."""
    return text.partition(":")[0] in FILE_ENGINES or Path(text).suffix in FILE_SUFFIXES


PLAN_SUFFIX = ".plan"
FILE_SUFFIXES = (".onnx", PLAN_SUFFIX)
"""Of networks as files; recipes end in ``.toml``."""

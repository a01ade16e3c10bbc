"""The module of the engine, found or missed for a reason that is said; and one word with it.

Three things may be absent, and each is mended in another way: the package, a library behind the
package, and the GPU.
"""

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from compressor.engines import ENGINES, GpuEngine
from compressor.errors import MissingExtra, ModelError
from compressor.tensorrt.cuda import Cuda, TorchCuda
from compressor.tensorrt.names import missing_names

RELEASES: dict[GpuEngine, str] = {
    "tensorrt": "tensorrt>=10.12,<12",
    "tensorrt-rtx": "tensorrt-rtx>=1.7.1,<1.8",
}
"""What is installed, in the releases that the code is written for; the extras of this package."""

CUDA_BUILDS = (12, 13)
NULL_FACTORY = "nullptr"


@dataclass(frozen=True)
class Kit:
    """An engine at hand.

    Attributes:
        flavour: Which of the two engines.
        trt: Its module.
        cuda: The functions of CUDA.
    """

    flavour: GpuEngine
    trt: Any
    cuda: Cuda = field(default_factory=TorchCuda)

    @property
    def version(self) -> str:
        """Release of the engine."""
        return str(self.trt.__version__)


def open_kit(
    flavour: GpuEngine,
    cuda: Cuda | None = None,
    importer: Callable[[str], ModuleType] = importlib.import_module,
) -> Kit:
    """The engine ``flavour``, its module checked for all that is used of it.

    Args:
        flavour: Which of the two engines.
        cuda: The functions of CUDA; torch's if ``None``.
        importer: Imports a module by its name.

    Raises:
        MissingExtra: The package, a library behind it, or something that is used of it is missing.
    """
    trt = find_module(flavour, importer)
    if absent := missing_names(trt):
        # A folder that happens to have the module's name is imported as well, and has no version.
        version = getattr(trt, "__version__", "of no version")
        raise MissingExtra(
            f"{flavour} {version} has no {', '.join(absent)}, which building and running "
            "need. Install a supported release: TensorRT 10.12 to 11.x, TensorRT-RTX 1.7."
        )
    return Kit(flavour, trt, cuda or TorchCuda())


def find_module(flavour: GpuEngine, importer: Callable[[str], ModuleType]) -> ModuleType:
    """The module of ``flavour``.

    Raises:
        MissingExtra: It is not installed, or a library behind it is missing: said apart.
    """
    name = ENGINES[flavour].module
    extra = f"python -m pip install '{RELEASES[flavour]}'"
    try:
        return importer(name)
    except ModuleNotFoundError as error:
        # The package may be there and lack another: then its own name is not the missing one.
        if error.name == name:
            raise MissingExtra(f"{flavour} is not installed. Install it: {extra}") from error
        reason = f"No module named {error.name}"
    except ImportError as error:
        reason = str(error).splitlines()[0]
    raise MissingExtra(
        f"{flavour} is installed, and a library behind it is missing ({reason}). Install its "
        f"libraries in the same version, from NVIDIA's package index: {extra} --force-reinstall"
    )


def check_device(kit: Kit) -> None:
    """Refuse to go on without a GPU.

    To be called before any object of the engine's runtime is made: some of them crash the process
    where there is no driver.

    Raises:
        ModelError: There is none.
    """
    if not kit.cuda.is_available():
        raise ModelError(
            f"{kit.flavour} needs a CUDA device, and this machine has none that torch can use. "
            "Run this on a machine with an NVIDIA GPU, or use onnxruntime."
        )


def make(kind: Callable[[Any], Any], logger: Any, kit: Kit) -> Any:
    """A builder or a runtime.

    Raises:
        ModelError: The engine made none; the binding then says only that a pointer is null.
    """
    try:
        return kind(logger)
    except TypeError as error:
        if NULL_FACTORY not in str(error):
            raise
        raise ModelError(
            f"{kit.flavour} {kit.version} cannot start on this machine. Check that the driver is "
            "new enough for its CUDA version, and that the libraries are of the same release."
        ) from error


def cuda_build(flavour: GpuEngine) -> int | None:
    """Major version of CUDA that the installed engine is built for; ``None`` if it is unknown."""
    for major in CUDA_BUILDS:
        try:
            importlib.metadata.version(f"{ENGINES[flavour].module}_cu{major}_bindings")
        except importlib.metadata.PackageNotFoundError:
            continue
        return major
    return None

"""How a network becomes a file of each profile, behind one form: layers, and a way to write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from compressor.export.precision_bf16 import write_bf16
from compressor.export.precision_fp16 import layers_of_file, write_fp16
from compressor.export.profiles import Profile
from compressor.export.quant import Quantised
from compressor.export.quant_calibration import QuantSettings


@dataclass(frozen=True)
class Source:
    """What files are made from.

    Attributes:
        model: The float32 network; only bf16 reads it.
        image_shape: Channels, height, width.
        float_path: The ONNX file that was exported from it, in float32.
        calibration: Training images as the network gets them, shape ``(images, *image_shape)``;
            only int8 and fp8 read them, and want as many as their settings say.
    """

    model: nn.Module
    image_shape: tuple[int, int, int]
    float_path: Path
    calibration: Tensor | None


@dataclass(frozen=True)
class Writer:
    """Writes one network in one profile.

    Attributes:
        layers: Those that can stay in float32, in the order of the graph; empty where none can.
        write: To a path, the layers named in the set in float32.
    """

    layers: tuple[str, ...]
    write: Callable[[Path, frozenset[str]], None]


@contextmanager
def open_writer(profile: Profile, source: Source, settings: QuantSettings) -> Iterator[Writer]:
    """A writer of ``source`` in ``profile``, any but float32.

    Its working files are gone after the block.

    Raises:
        DataError: The calibration images cannot be used.
        ExportError: The network cannot be prepared.
        MissingExtra: A package is not installed.
    """
    if profile.quantiser is not None:
        with Quantised(profile, source.float_path, source.calibration, settings) as quantised:
            yield Writer(tuple(quantised.layers), quantised.write)
    elif profile.precision == "fp16":
        layers = tuple(layers_of_file(source.float_path))
        yield Writer(layers, lambda path, kept: write_fp16(source.float_path, path, kept))
    else:
        assert profile.precision == "bf16", f"{profile.name} has no writer"
        yield Writer((), lambda path, _kept: write_bf16(*_network(source), path))


def _network(source: Source) -> tuple[nn.Module, tuple[int, int, int], Path]:
    return source.model, source.image_shape, source.float_path

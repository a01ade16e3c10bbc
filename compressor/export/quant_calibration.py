"""Real images for the quantiser: checked, and handed to it batch by batch."""

from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from compressor.errors import DataError, ExportError
from compressor.onnx_graph import load_onnx, sizes, true_inputs
from compressor.settings import Settings

Method = Literal["minmax", "entropy", "percentile"]

METHOD_NAMES = {
    "minmax": "MinMax",
    "entropy": "Entropy",
    "percentile": "Percentile",
    "distribution": "Distribution",
}
"""Each method's name in ONNX Runtime; ``distribution`` is fp8's, and no choice of the user's."""


class QuantSettings(Settings):
    """How ranges of activations are found."""

    num_images: int = Field(default=256, ge=1)
    """Training images that are looked at."""
    method: Method = "minmax"
    """``minmax`` takes the whole range seen; ``entropy`` cuts it where the distribution suffers
    least; ``percentile`` cuts off the rarest values. fp8 always uses the distribution."""
    percentile: float | None = Field(default=None, gt=50, le=100)
    """Percentage of values inside the range, of method ``percentile`` alone; default 99.999."""
    batch_size: int = Field(default=16, ge=1)
    """Images in memory at a time, with all that the network makes of them."""

    @model_validator(mode="after")
    def _percentile_has_an_effect(self) -> Self:
        if self.percentile is not None and self.method != "percentile":
            raise ValueError(
                f"percentile has no effect with method = {self.method!r}; leave it out"
            )
        return self


class CalibrationReader:
    """Batches of images in the form that ONNX Runtime's calibrators ask for.

    It is read in ranges, one batch at a time, since the calibrators keep every activation of what
    they read at once. ``len`` is the number of batches.
    """

    def __init__(self, images: Tensor, input_name: str, batch_size: int) -> None:
        self._batches = [part.contiguous().numpy() for part in batches_of(images, batch_size)]
        self._name = input_name
        self.set_range(0, len(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Read the batches ``start_index`` up to but without ``end_index`` next."""
        self._left = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the name of the input; ``None`` when there is none."""
        batch = next(self._left, None)
        return None if batch is None else {self._name: batch}


def calibration_images(images: Tensor | None, source: Path, settings: QuantSettings) -> Tensor:
    """The first ``settings.num_images`` of ``images``, on the CPU, checked.

    Args:
        images: Training images as the network gets them, shape ``(images, channels, ...)``.
        source: The float file that they are for.
        settings: How many are wanted.

    Raises:
        DataError: There are none or too few, they have another shape than the file's input, are not
            float32, or hold a value that is no finite number.
    """
    num_images = 0 if images is None else len(images)
    if images is None or num_images < settings.num_images:
        raise DataError(
            f"Calibration has {num_images} images, and {settings.num_images} are asked for. "
            "Give more training images, or set num_images lower."
        )
    _name, wanted = input_of(source)
    given = list(images.shape[1:])
    if given != wanted:
        raise DataError(
            f"Calibration images have shape {given}, {source} takes {wanted}. "
            "Prepare them as in training."
        )
    chosen = images[: settings.num_images].detach().cpu()
    if chosen.dtype != torch.float32:
        raise DataError(
            f"Calibration images are {chosen.dtype}, not float32. Prepare them as in training."
        )
    broken = int((~torch.isfinite(chosen)).flatten(1).any(dim=1).sum())
    if broken:
        raise DataError(
            f"{broken} of {len(chosen)} calibration images hold NaN or infinity. "
            "Check the data and its normalisation."
        )
    return chosen


def input_of(source: Path) -> tuple[str, list[int]]:
    """Name of the file's input, and its shape without the batch.

    Raises:
        ModelError: There is no such file, or it is not ONNX.
        ExportError: It is not one that this project exported: several inputs, or another size than
            the batch is free.
    """
    inputs = true_inputs(load_onnx(source, with_data=False).graph)
    shape = sizes(inputs[0])[1:] if len(inputs) == 1 else ()
    wanted = [size for size in shape if isinstance(size, int)]
    if not shape or len(wanted) != len(shape):
        raise ExportError(
            f"{source} does not take one input whose batch alone is free. Export the network with "
            "compressor for images of one size."
        )
    return inputs[0].name, wanted


def batches_of(images: Tensor, batch_size: int) -> list[Tensor]:
    """``images`` in batches of ``batch_size``, the last one possibly smaller."""
    return [images[start : start + batch_size] for start in range(0, len(images), batch_size)]

"""What a package says of its network beside weights and plan: how to build it, feed it, read it."""

from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from compressor.data.pictures import Form, Resize, decode
from compressor.errors import ModelError
from compressor.settings import Settings
from compressor.tasks.model import ModelSettings


class Preprocessing(Settings):
    """From pixels to what the network takes."""

    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    mean: tuple[float, ...]
    """One per channel, for pixels scaled to [0, 1]."""
    std: tuple[float, ...]
    """One per channel, for pixels scaled to [0, 1]."""
    stretched: bool
    """Whether pictures of other sizes were stretched to this one."""
    resize: Resize | None = None
    """How pictures of other sizes become this one, upright, on white where they are transparent and
    bilinear; None where the network was trained on arrays that had its size."""

    def read(self, *paths: str | Path) -> Tensor:
        """Pictures as the network takes them, float32, shape ``(len(paths), *image_shape)``.

        Raises:
            ModelError: The network was trained on arrays, so that nothing is known of pictures.
            DataError: A file cannot be read as a picture.
        """
        channels, height, width = self.image_shape
        if self.resize is None or channels != 3 or height != width:
            raise ModelError(
                f"The network was trained on arrays of shape {self.image_shape}, and nothing says "
                "how pictures become such. Give uint8 arrays to preprocessing.inputs."
            )
        form = Form(height, self.resize)
        pixels = [torch.from_numpy(decode(Path(path), form)) for path in paths]
        return self.inputs(torch.stack(pixels))

    def inputs(self, pixels: Tensor) -> Tensor:
        """Normalised images, float32, of uint8 ``pixels``; both ``(images, *image_shape)``."""
        mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


class Accuracy(Settings):
    """Share of the test images that each network got right, in [0, 1]."""

    dense: float
    slim: float
    test_images: int


class Counts(Settings):
    """Size of a network."""

    macs: int
    """For one image, as the release that wrote the package counts them."""
    params: int
    bytes: int


class Description(Settings):
    """Contents of ``package.json``."""

    name: str
    """Name of the recipe."""
    model: ModelSettings
    """How the network is built, at full size; a file is named by its place in the package."""
    seed: int
    """Seed of the built network: buffers that are not saved may be random."""
    labels: tuple[str, ...]
    """Name of each class; output ``i`` is the logit of ``labels[i]``."""
    preprocessing: Preprocessing
    """From pixels to what the network takes."""
    counts: Counts
    """Size of the slim network."""
    accuracy: Accuracy | None = None
    """As measured in the run; None where nobody measured."""
    dense: Counts | None = None
    """Size of the network before; None where it is not said."""
    data: str = ""
    """What it was trained on, in words; empty for what the recipe says."""
    training: str = ""
    """How it was trained, in words; empty for what the recipe says."""
    license: str = "unknown"
    """Of the weights, as the model hub names it: ``mit``, ``apache-2.0``, ``cc-by-4.0`` ..."""


def read_description(path: Path) -> Description:
    """Read ``package.json``.

    Raises:
        ModelError: It was written by a release that says other things.
    """
    try:
        return Description.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as failure:
        fault = failure.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ModelError(
            f"{path}: {place}: {fault['msg']}. Use the release that wrote the package."
        ) from failure

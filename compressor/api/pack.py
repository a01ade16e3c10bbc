"""A slim network as a package."""

import os
import tempfile
from pathlib import Path

from pydantic import Field
from torch import Tensor

from compressor.api.cut import Stripped
from compressor.api.deliver import export_network
from compressor.api.given import counts_of, still
from compressor.bench.environment import environment
from compressor.data.pictures import Resize
from compressor.errors import ModelError
from compressor.package.description import Accuracy, Description, Preprocessing
from compressor.package.write import Contents, Records, packed_model, write_package
from compressor.settings import Settings
from compressor.shipped import shipped
from compressor.tasks.model import ModelSettings, Scalar

SAMPLE_IMAGES = 8
"""Of the images given to ``save``: those whose outputs go into the package."""

IMAGE_AXES = 4
"""Images, channels, height, width."""


class About(Settings):
    """What a package must know of its network, so that somebody else can build, feed and read it.

    Only factory, labels, mean and std are needed; the rest is for the model card.
    """

    factory: str
    """What builds the network at full width: ``file.py:function``, ``torchvision:resnet18`` or
    ``timm:NAME``. Of a file, which goes into the package, nothing else may be needed."""
    arguments: dict[str, Scalar | list[int]] = Field(default_factory=dict)
    """Arguments of the factory; the number of classes and channels are added."""
    labels: tuple[str, ...] = Field(min_length=1, strict=False)
    """Name of each class; output ``i`` is the logit of ``labels[i]``."""
    mean: tuple[float, ...] = Field(strict=False)
    """One per channel, for pixels scaled to [0, 1]."""
    std: tuple[float, ...] = Field(strict=False)
    """One per channel, for pixels scaled to [0, 1]."""
    name: str = Field(default="network", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Short name of the package."""
    resize: Resize | None = None
    """How pictures of other sizes become this one: ``stretch``, or ``crop``, the middle after
    scaling the shorter side; None where the network was trained on arrays of its size."""
    accuracy: Accuracy | None = None
    """Share of test images that are right, dense and slim, if you measured it."""
    data: str = ""
    """What it was trained on, in words."""
    training: str = ""
    """How it was trained, in words."""
    license: str = "unknown"
    """Of the weights, as the model hub names it."""


def save(stripped: Stripped, folder: str | os.PathLike[str], images: Tensor, about: About) -> Path:
    """Write the slim package: a folder that loads, runs and verifies by itself; the folder.

    It is loaded and checked in a process of its own before it stands there. ``compressor.load``
    gives the network back.

    Args:
        stripped: Its network with the weights of now: tune it first.
        folder: Where to; what is there is replaced.
        images: Real inputs as the network takes them, shape ``(images, channels, height, width)``,
            at least 2; the first 8 go into the package.
        about: How the network is built, fed and read.

    Raises:
        ExportError: The network cannot be exported.
        ModelError: It cannot be built by the factory, or not from the package alone.
        CheckError: What was built is not the network.
    """
    target, samples = Path(folder), images[:SAMPLE_IMAGES].detach().float().cpu()
    if samples.dim() != IMAGE_AXES or len(samples) < 2:
        raise ModelError(
            f"The images have shape {list(images.shape)}. Give at least 2, of shape (images, "
            "channels, height, width)."
        )
    channels, height, width = samples.shape[1:]
    shape = (channels, height, width)
    network = still(stripped.network)
    settings = ModelSettings(factory=about.factory, arguments=about.arguments)
    model, architecture = packed_model(settings, (Path(), shipped("models").parent))
    description = Description(
        name=about.name,
        model=model,
        seed=0,
        labels=about.labels,
        preprocessing=Preprocessing(
            image_shape=shape,
            mean=about.mean,
            std=about.std,
            stretched=about.resize == "stretch",
            resize=about.resize,
        ),
        counts=counts_of(network, samples),
        dense=stripped.dense,
        **about.model_dump(include={"accuracy", "data", "training", "license"}),
    )
    records = Records(stripped.certificate.to_json(), {}, environment())
    with tempfile.TemporaryDirectory() as aside:
        onnx = export_network(network, Path(aside) / "model.onnx", shape)
        contents = Contents(
            description, network, stripped.plan, architecture, samples, onnx, records
        )
        write_package(target, contents)
    return target

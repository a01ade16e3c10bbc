"""The network that a recipe is wanted for: built, its weights in it, and the size it runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.inspection.reference import default_shape
from compressor.shipped import shipped
from compressor.strip.trial import FORWARD_FAILURES
from compressor.tasks.model import ModelSettings, Start, start_model

CHANNELS = 3
"""Of every picture in a folder."""

SIDE_MULTIPLE, SMALL_MULTIPLE = 32, 8
"""Sides are multiples of the total stride of most networks; of 8 where pictures are tiny."""

OF_LIBRARIES = ("torchvision", "timm")

SEED = 0
"""Of the recipe."""


@dataclass(frozen=True)
class Network:
    """A network as a recipe names it.

    Attributes:
        settings: The recipe's ``[model]``.
        start: It, and what became of its weights.
        own_side: Side of the pictures that it says it was made for.
    """

    settings: ModelSettings
    start: Start
    own_side: int

    @property
    def model(self) -> nn.Module:
        """The module."""
        return self.start.model

    @property
    def of_a_library(self) -> bool:
        """Whether a library builds it, whose weights were trained on the ImageNet."""
        return self.settings.factory.rpartition(":")[0] in OF_LIBRARIES

    @property
    def is_trained(self) -> bool:
        """Whether it starts from weights."""
        return self.settings.weights is not None

    @property
    def fits(self) -> bool:
        """Whether its weights are for these classes, head included."""
        return self.is_trained and not self.start.new_head

    @property
    def normalises_batches(self) -> bool:
        """Whether it has batch norms; without any plain SGD at a large rate is too much."""
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.model.modules())


def build(factory: str, weights: Path | None, num_classes: int) -> Network:
    """The network for pictures of ``num_classes`` classes.

    Raises:
        ModelError: It cannot be built, or the weights are not for it.
        MissingExtra: It is one of timm, which is not installed.
    """
    folders = model_folders()
    settings = ModelSettings(factory=factory, weights=None if weights is None else str(weights))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        start = start_model(settings, num_classes, CHANNELS, folders)
    return Network(settings, start, default_shape(start.model, factory, folders)[1])


def model_folders() -> tuple[Path, ...]:
    """Where factory files are looked for."""
    return (Path(), shipped("models").parent)


def choose_side(network: Network, shorter_side: int, num_classes: int) -> tuple[int, str]:
    """Side of the squares, and why.

    Pictures are not enlarged (but those of fewer than 8 pixels), and not larger than the network
    was made for; a network that takes its own size only gets that.

    Args:
        network: Which.
        shorter_side: Of the pictures, in pixels.
        num_classes: Outputs that it must give.

    Raises:
        ModelError: It runs on neither size.
    """
    own = network.own_side
    step = SIDE_MULTIPLE if shorter_side >= SIDE_MULTIPLE else SMALL_MULTIPLE
    wished = min(own, max(step, step * (shorter_side // step)))
    why = f"the median shorter side of the pictures is {shorter_side}, the network's own size {own}"
    try:
        check_runs(network.model, wished, num_classes)
    except ModelError:
        if wished == own:
            raise
        check_runs(network.model, own, num_classes)
        return own, f"the network's own size; it does not run on {wished}"
    return wished, why


@torch.no_grad()
def check_runs(model: nn.Module, side: int, num_classes: int) -> None:
    """Refuse a network that does not give one number per class for pictures of ``side``.

    Raises:
        ModelError: It fails, or its outputs have another shape.
    """
    example = torch.zeros(2, CHANNELS, side, side)
    try:
        outputs = model.eval()(example)
    except FORWARD_FAILURES as failure:
        reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0].rstrip(".")
        raise ModelError(
            f"The network does not run on pictures of {CHANNELS} x {side} x {side}: {reason}. "
            "Give the size it takes by --image-size."
        ) from failure
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found != (2, num_classes):
        raise ModelError(
            f"The network gives {_shown(found)} for 2 pictures of {num_classes} classes, not "
            f"[2, {num_classes}]. Let its factory take num_classes, or give it the data it is for."
        )


def _shown(found: Sequence[int] | str) -> str:
    return f"a {found}" if isinstance(found, str) else f"outputs of shape {list(found)}"

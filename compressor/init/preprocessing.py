"""How pictures are fed to a trained network: what it was trained with, as far as can be known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compressor.data.folder import LabelledFile
from compressor.data.pictures import Form, Resize, Unreadable, decode
from compressor.data.statistics import channel_statistics
from compressor.errors import DataError
from compressor.init.network import Network
from compressor.init.survey import spread

Numbers = tuple[float, ...]
Ways = tuple[Numbers | None, Numbers | None]
"""Mean and standard deviation of each channel; None for those of the pictures themselves."""

SAMPLE = 200
"""Training pictures on which ways of feeding a network are compared."""

OWN: Ways = (None, None)

IMAGENET: Ways = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the ImageNet's channels, as torchvision uses them."""

HALVES: Ways = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""To [-1, 1], as many transformers and much code of one's own does."""

NAMES = {OWN: "the data's own mean", IMAGENET: "the ImageNet's mean", HALVES: "mean 0.5"}


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are fed.

    Attributes:
        resize: How they become squares.
        mean: Of each channel; None for that of the training pictures.
        std: Along with it.
        why: Where this comes from.
        notices: What a person should know of it, a sentence each.
    """

    resize: Resize
    mean: Numbers | None
    std: Numbers | None
    why: str
    notices: tuple[str, ...] = ()


def choose_preprocessing(
    network: Network, files: Sequence[LabelledFile], side: int
) -> Preprocessing:
    """What the network was trained with; measured where its classes are those of ``files``.

    Raises:
        DataError: No file of those that it would be measured on can be read.
    """
    if not network.is_trained:
        return Preprocessing("stretch", None, None, "the network starts from scratch")
    if network.fits:
        return _measured(network, files, side)
    if network.of_a_library:
        told = "as networks of the ImageNet were trained; the new head gets used to it"
        return Preprocessing("crop", *_of_library(network), told)
    return Preprocessing(
        "stretch", None, None, "nothing says how the network was trained; put its mean and std here"
    )


def _of_library(network: Network) -> Ways:
    config = getattr(network.model, "pretrained_cfg", None)
    if isinstance(config, dict) and "mean" in config and "std" in config:
        return tuple(config["mean"]), tuple(config["std"])
    return IMAGENET


def _measured(network: Network, files: Sequence[LabelledFile], side: int) -> Preprocessing:
    """The way of feeding by which most of a sample is named right; the likeliest of equal ones.

    Where none is ahead of naming the commonest class always, none was measured: classes in another
    order make every way as good as chance.
    """
    ways_known = [OWN, IMAGENET, HALVES]
    if network.of_a_library:
        ways_known = [_of_library(network), *ways_known[::2]]
    resizes: tuple[Resize, ...] = ("crop", "stretch")
    found = []
    for resize in resizes if network.of_a_library else resizes[::-1]:
        pixels, labels = _sample(files, Form(side, resize))
        found += [
            (_share_right(network, _normalised(pixels, ways), labels), resize, ways)
            for ways in ways_known
        ]
    told = "; ".join(
        f"{NAMES.get(tried, 'its own mean')}, {kind} {share:.0%}" for share, kind, tried in found
    )
    best, resize, (mean, std) = max(found, key=lambda entry: entry[0])
    commonest = float(labels.bincount().max()) / len(labels)
    if best <= commonest:
        return _guessed(network, best, commonest, told)
    return Preprocessing(
        resize, mean, std, f"the way by which it names most of {len(labels)} pictures right: {told}"
    )


def _guessed(network: Network, best: float, commonest: float, told: str) -> Preprocessing:
    """What is usual for such a network, with a warning."""
    usual: tuple[Resize, Numbers | None, Numbers | None] = (
        ("crop", *_of_library(network)) if network.of_a_library else ("stretch", *OWN)
    )
    notice = (
        f"By no way of feeding it the network names more than {best:.0%} of the pictures right, "
        f"and the commonest class alone is {commonest:.0%} of them. If it numbers its classes "
        "otherwise than by sorted names, write data.classes in its order; else see whether the "
        "weights are of this data."
    )
    why = (
        f"what is usual, for by no way of feeding it the network names most pictures right: {told}"
    )
    return Preprocessing(*usual, why, (notice,))


def _sample(files: Sequence[LabelledFile], form: Form) -> tuple[Tensor, Tensor]:
    pixels, labels, broken = [], [], list[str]()
    for file in spread(files, SAMPLE):
        try:
            pixels.append(decode(file.path, form))
        except Unreadable as failure:
            broken.append(failure.why)  # all are named when the data is loaded
            continue
        labels.append(file.label)
    if not pixels:
        raise DataError(
            f"None of {len(broken)} pictures that were tried can be read: {broken[0]}. Mend the "
            "files."
        )
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def _normalised(pixels: Tensor, ways: Ways) -> Tensor:
    mean, std = ways
    if mean is None or std is None:
        mean, std = channel_statistics(pixels.numpy())
    centre, scale = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (mean, std))
    return (pixels.float() / 255 - centre) / scale


@torch.no_grad()
def _share_right(network: Network, inputs: Tensor, labels: Tensor) -> float:
    model = network.model.eval()
    guesses = torch.cat([model(some).argmax(dim=1) for some in torch.split(inputs, 50)])
    return float((guesses == labels).float().mean())

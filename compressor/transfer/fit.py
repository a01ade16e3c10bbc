"""What of a trained network fits the network of a new task: all but the head, and how the stem."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import ModelError, StructureError
from compressor.tasks.head import followers
from compressor.tasks.model import ModelSettings
from compressor.transfer.origin import State

CLASS_ARGUMENTS = ("num_classes",)
CHANNEL_ARGUMENTS = ("in_channels", "in_chans")
SIZE_ARGUMENTS = ("image_size", "img_size")
"""Arguments of a factory that follow the data; in all others both networks must agree."""

HEAD_DEVIATION = 0.02
"""Standard deviation of a head that its network would begin at zero; as transformers are drawn."""

Build = Callable[[int, int], nn.Module]
"""The network of the new task for any number of classes and input channels."""


@dataclass(frozen=True)
class Fit:
    """How the tensors of the old network go into the new one.

    Attributes:
        head: Names of those that follow the number of classes; they are made new.
        stem: Names of those that follow the number of input channels, where that is another.
        channels: Input channels of the old and of the new network.
    """

    head: frozenset[str]
    stem: tuple[str, ...]
    channels: tuple[int, int]

    def notes(self) -> tuple[str, ...]:
        """What a person should know, a sentence each."""
        old, new = self.channels
        how = f"repeated and divided by {new}" if old == 1 else "summed"
        return (
            f"New head: {', '.join(sorted(self.head))}.",
            *(f"{name} has {old} input channels in the run and {new} here: its weights are {how}."
              for name in self.stem),
        )  # fmt: skip

    def moved(self, old: State, new: State) -> dict[str, Tensor]:
        """``old`` with the head of ``new``, and the stem for its number of channels."""
        state = {name: new[name] if name in self.head else old[name] for name in new}
        for name in self.stem:
            state[name] = adapted(old[name], self.channels[1])
        return state


def with_drawn_head(state: State, head: Collection[str], seed: int) -> dict[str, Tensor]:
    """``state`` with weights of the ``head`` that are zero drawn by ``seed``.

    Some networks begin with a head of zeros, whose outputs would say nothing of what is cut.
    """
    generator, drawn = torch.Generator().manual_seed(seed), dict(state)
    for name in sorted(head):
        if state[name].dim() > 1 and not state[name].any():
            noise = torch.randn(state[name].shape, generator=generator)
            drawn[name] = (HEAD_DEVIATION * noise).to(state[name].dtype)
    return drawn


def adapted(weight: Tensor, channels: int) -> Tensor:
    """A first layer's ``weight``, shape ``(filters, channels, ...)``, for other input channels.

    From one channel to several: repeated and divided, so that an image with equal channels gives
    what the grey one gave. From several to one: summed, for the same reason.
    """
    if weight.shape[1] == 1:
        return weight.repeat_interleave(channels, dim=1) / channels
    assert channels == 1, "other changes are refused"
    return weight.sum(dim=1, keepdim=True)


def check_same_network(old: ModelSettings, new: ModelSettings) -> None:
    """Refuse a network that is not that of the run by its name, or by an argument.

    Raises:
        ModelError: The factory or an argument differs, or weights are given.
    """
    if old.factory != new.factory:
        raise ModelError(
            f"model.factory is {new.factory!r} and the run's {old.factory!r}: a structure moves "
            f"between tasks, not between architectures. Write model.factory = {old.factory!r}."
        )
    for name in sorted(old.arguments.keys() | new.arguments.keys()):
        ours, theirs = new.arguments.get(name), old.arguments.get(name)
        if ours != theirs and name not in (*CLASS_ARGUMENTS, *CHANNEL_ARGUMENTS, *SIZE_ARGUMENTS):
            raise ModelError(
                f"model.arguments.{name} is {_shown(ours)} and the run's {_shown(theirs)}: that is "
                "another network. Give it the run's arguments."
            )
    if new.weights is not None:
        raise ModelError(
            f"model.weights is {new.weights!r}, but a transfer takes its weights from the run. "
            "Leave it out."
        )


def _shown(argument: Any) -> str:
    return "not given" if argument is None else repr(argument)


def without_data(settings: ModelSettings) -> ModelSettings:
    """``settings`` without the arguments that fix a number of classes or channels."""
    fixed = (*CLASS_ARGUMENTS, *CHANNEL_ARGUMENTS)
    arguments = {name: value for name, value in settings.arguments.items() if name not in fixed}
    return settings.model_copy(update={"arguments": arguments, "weights": None})


def fit(old: State, model: nn.Module, build: Build, num_classes: int, channels: int) -> Fit:
    """How ``old`` goes into ``model``, the network of the new task.

    Args:
        old: Tensors of the run's network at full width, by name.
        model: For ``num_classes`` and ``channels``.
        build: Makes it for others, to see which tensors follow them.
        num_classes: Of the new task.
        channels: Of its images.

    Raises:
        ModelError: The factory takes no number of classes, so that there is no head.
        StructureError: A tensor differs that neither of the two numbers explains.
    """
    new = shapes(model.state_dict())
    head = followers(model, build(num_classes + 1, channels))
    if not head:
        raise ModelError(
            "No tensor of the network follows the number of classes, so there is no head to make "
            "new. Let its factory take num_classes."
        )
    shapes_old = shapes(old)
    _check_names(shapes_old, new)
    for name in head:
        _check_head(name, shapes_old[name], new[name])
    others = [name for name in _differing(new, shapes_old) if name not in head]
    if not others:
        return Fit(frozenset(head), (), (channels, channels))
    before = _channels_before(others, shapes_old, new, channels)
    probe = shapes(build(num_classes, before).state_dict())
    _check_rest(_differing(probe, shapes_old), head, shapes_old, new)
    return Fit(frozenset(head), tuple(others), (before, channels))


Shapes = Mapping[str, tuple[int, ...]]


def shapes(state: State) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _differing(one: Shapes, other: Shapes) -> list[str]:
    return [name for name, shape in one.items() if other.get(name) != shape]


def _check_names(old: Shapes, new: Shapes) -> None:
    if strangers := sorted(old.keys() ^ new.keys()):
        has, lacks = ("run's", "new") if strangers[0] in old else ("new", "run's")
        raise StructureError(
            f"{strangers[0]}: the {has} network has it and the {lacks} one has not. A structure "
            "moves to the same architecture only; give the recipe the run's network."
        )


def _check_head(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    if old[1:] != new[1:]:
        raise StructureError(
            f"{name} has shape {old} in the run and {new} here: the head reads a flattened image, "
            "whose size is another. Use images of the run's size, or a network that pools."
        )


def _channels_before(others: list[str], old: Shapes, new: Shapes, channels: int) -> int:
    """Input channels of the run's network, if they explain how the first of ``others`` differs."""
    name = others[0]
    ours, theirs = new[name], old[name]
    same_rest = len(ours) > 1 and (ours[0], *ours[2:]) == (theirs[0], *theirs[2:])
    if not same_rest or ours[1] != channels:
        raise _misfit(name, theirs, ours)
    if 1 not in (theirs[1], channels):
        raise StructureError(
            f"{name} takes {theirs[1]} input channels in the run and {channels} here. Only one "
            "channel becomes several, or several one; convert the images."
        )
    return theirs[1]


def _check_rest(unexplained: list[str], head: Collection[str], old: Shapes, new: Shapes) -> None:
    for name in unexplained:
        if name not in head:
            raise _misfit(name, old[name], new[name])


def _misfit(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> StructureError:
    return StructureError(
        f"{name} has shape {old} in the run and {new} here, and neither classes nor channels "
        "explain it. Use images of the run's size, and the run's arguments of the network."
    )


@torch.no_grad()
def check_takes(model: nn.Module, example: Tensor) -> None:
    """Refuse images that the network cannot take.

    Raises:
        ModelError: It fails on ``example``, shape ``(images, channels, height, width)``.
    """
    try:
        model.eval()(example)
    except Exception as failure:  # a network may fail on another shape in any way
        reason = (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")
        raise ModelError(
            f"The run's network cannot take images of shape {tuple(example.shape[1:])}: {reason}. "
            "Give the recipe data of a shape that it can."
        ) from failure

"""Features of matching stages: modules of the same name in two networks, watched and compared.

Hooks live for one pass through a network and are gone after it, however it ends, so a network that
is copied, saved or exported never carries one.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import TrainError
from compressor.strip.graph import CapturedNetwork
from compressor.train.attention import attention_map, mean_attention_loss

Seen = Mapping[str, Sequence[Any]]
"""What each watched module gave during one pass, by its name: as many outputs as it ran times."""


class Features:
    """Stages of a slim and a dense network whose attention maps are compared.

    Attributes:
        matched: For each pattern the modules that it names.
    """

    matched: Mapping[str, tuple[str, ...]]

    def __init__(
        self, student: nn.Module, teacher: nn.Module, patterns: Sequence[str], example: Tensor
    ) -> None:
        """Find the stages, and try them on ``example``; modes and statistics stay as they are.

        Args:
            student: The network that learns, as it is before an engine wraps it.
            teacher: The network that it is compared with.
            patterns: Names or globs as ``matching`` takes them; at least one.
            example: Some inputs, on any device.

        Raises:
            TrainError: The student is a captured graph, a pattern names nothing, or what a module
                gives cannot be compared: no tensor, no places, one place, places of another number.
        """
        if isinstance(student, CapturedNetwork):
            raise TrainError(
                "tune.features compares outputs of modules, and this slim network is a captured "
                "graph without modules to watch. Leave tune.features out."
            )
        self.matched = matching(student, teacher, patterns)
        names = list(dict.fromkeys(name for some in self.matched.values() for name in some))
        self._student = {name: student.get_submodule(name) for name in names}
        self._teacher = {name: teacher.get_submodule(name) for name in names}
        _check_sizes(
            _maps_of(student, self._student, example), _maps_of(teacher, self._teacher, example)
        )

    def lines(self) -> list[str]:
        """What a person should see: one line for each pattern."""
        return [
            f"tune.features {pattern!r}: {', '.join(names)}"
            for pattern, names in self.matched.items()
        ]

    def of_student(self) -> AbstractContextManager[Seen]:
        """Watch the student, also inside whatever wraps it, during one pass."""
        return watched(self._student)

    def of_teacher(self) -> AbstractContextManager[Seen]:
        """Watch the teacher during one pass."""
        return watched(self._teacher)

    def loss(self, student: Seen, teacher: Seen) -> Tensor:
        """Mean over stages of ``attention_loss``; scalar in [0, 1], with a gradient to the student.

        Raises:
            TrainError: A module did not run exactly once.
        """
        maps, answers = maps_of_seen(student), maps_of_seen(teacher)
        return mean_attention_loss(list(maps.values()), list(answers.values()))


def matching(
    student: nn.Module, teacher: nn.Module, patterns: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """For each pattern the modules of that name in both networks, in the student's order.

    Names are compared part by part: ``*`` does not match a dot, so ``layer*`` names the stages
    ``layer1`` to ``layer4`` and not what is inside them.

    Raises:
        TrainError: A pattern names no module that both networks have.
    """
    others = set(_names(teacher))
    names = [name for name in _names(student) if name in others]
    return {pattern: _named(pattern, names) for pattern in patterns}


def _names(model: nn.Module) -> list[str]:
    """All names of all modules inside, a module that stands in several places under each."""
    return [name for name, _ in model.named_modules(remove_duplicate=False) if name]


def _named(pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    matched = tuple(name for name in names if _matches(name, pattern))
    if matched:
        return matched
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(names[:3])} ..."
    raise TrainError(f"tune.features {pattern!r} names no module of both networks. {hint}")


def _matches(name: str, pattern: str) -> bool:
    parts, globs = name.split("."), pattern.split(".")
    return len(parts) == len(globs) and all(map(fnmatchcase, parts, globs))


@contextmanager
def watched(modules: Mapping[str, nn.Module]) -> Iterator[Seen]:
    """Note what ``modules`` give until the block ends, and take every hook off again.

    An output that a later operator changes in place is seen as it is after that.
    """
    seen: dict[str, list[Any]] = {name: [] for name in modules}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(_note, seen[name])))
        yield seen


def _note(outputs: list[Any], _module: nn.Module, _inputs: Any, output: Any) -> None:
    outputs.append(output)


def maps_of_seen(seen: Seen) -> dict[str, Tensor]:
    """Attention map of each module, shape ``(images, places)``, by name.

    Raises:
        TrainError: A module did not run exactly once, or gave no tensor with places.
    """
    return {name: _map_of(name, outputs) for name, outputs in seen.items()}


def _map_of(name: str, outputs: Sequence[Any]) -> Tensor:
    if len(outputs) != 1:
        raise TrainError(
            f"tune.features: {name} runs {len(outputs)} times in one pass. "
            "Name a module that runs once."
        )
    output = outputs[0]
    if not isinstance(output, Tensor) or output.dim() < 3:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise TrainError(
            f"tune.features: {name} gives {found}, which has no places to compare. "
            "Name a module before pooling whose output is (images, channels, height, width) "
            "or (images, tokens, channels)."
        )
    return attention_map(output)


@torch.no_grad()
def _maps_of(
    model: nn.Module, modules: Mapping[str, nn.Module], example: Tensor
) -> dict[str, Tensor]:
    """Maps of an example in eval mode, which moves no statistics; every module's mode stays."""
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    try:
        with watched(modules) as seen:
            model.eval()(example.to(device))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return maps_of_seen(seen)


def _check_sizes(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> None:
    """Raise unless maps have as many places in both networks, and more than one."""
    for name, found in student.items():
        slim, dense = found.shape, teacher[name].shape
        if slim != dense:
            raise TrainError(
                f"tune.features: the map of {name} has {slim[1]} places for each of {slim[0]} "
                f"images in the slim network, and {dense[1]} for each of {dense[0]} in the dense "
                "one. Name a module whose maps have one size."
            )
        if slim[1] == 1:
            raise TrainError(
                f"tune.features: the map of {name} is a single place, which is the same in all "
                "networks. Name a module before pooling."
            )

"""A network by name -> its inspection."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from compressor.couplings.coupling import Engine
from compressor.inspection.inspect import inspect_model
from compressor.inspection.records import ImageShape, Inspection
from compressor.tasks.model import ModelSettings, build_model, find_file

DEFAULT_CHANNELS, DEFAULT_SIDE = 3, 224


def is_reference(text: str) -> bool:
    """Whether ``text`` names a network (``torchvision:NAME`` and so on) rather than a recipe."""
    home, _, name = text.rpartition(":")
    return bool(name) and (home in ("torchvision", "timm") or home.endswith(".py"))


@dataclass(frozen=True)
class Reference:
    """A network by name, and how it is looked at.

    Attributes:
        name: As ``ModelSettings.factory``.
        image_shape: Of its images; None for what the network says of itself, or 3 x 224 x 224.
        num_classes: Classes that it tells apart.
        folders: Where factory files are looked for.
        engine: What finds the couplings.
    """

    name: str
    image_shape: ImageShape | None
    num_classes: int
    folders: tuple[Path, ...]
    engine: Engine


def inspect_reference(reference: Reference, say: Callable[[str], None]) -> Inspection:
    """The inspection of the network that ``reference`` names.

    Args:
        reference: Which network.
        say: Told what is being done.

    Raises:
        ModelError: The network cannot be built, or ``inspect_model`` cannot do with it.
        MissingExtra: It is one of timm, which is not installed.
    """
    name, shape, folders = reference.name, reference.image_shape, reference.folders
    channels = DEFAULT_CHANNELS if shape is None else shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = ModelSettings(factory=name)
        model = build_model(settings, reference.num_classes, channels, folders)
    shape = shape or default_shape(model, name, folders)
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return inspect_model(model, example, reference.engine, say=say)


def default_shape(model: nn.Module, reference: str, folders: tuple[Path, ...]) -> ImageShape:
    """Images that a network is made for: what timm wrote on it, or its factory's ``image_size``."""
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, dict) and "input_size" in config:
        channels, height, width = config["input_size"]
        return channels, height, width
    home, _, name = reference.rpartition(":")
    side = _image_size(find_file(home, folders), name) if home.endswith(".py") else None
    side = DEFAULT_SIDE if side is None else side
    return DEFAULT_CHANNELS, side, side


def _image_size(file: Path, name: str) -> int | None:
    """Default of the parameter ``image_size`` of a function, where it is written as a number."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            names = [argument.arg for argument in node.args.args][::-1]
            defaults = dict(zip(names, node.args.defaults[::-1], strict=False))
            keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            defaults |= {argument.arg: value for argument, value in keywords if value}
            value = defaults.get("image_size")
            if isinstance(value, ast.Constant) and isinstance(value.value, int):
                return value.value
    return None

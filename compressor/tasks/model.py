"""Networks by name: a torchvision or timm builder, or a factory in a Python file."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from compressor.errors import MissingExtra, ModelError
from compressor.overrides import did_you_mean
from compressor.settings import Settings
from compressor.tasks.head import followers
from compressor.tasks.weights import load_body

Scalar = str | int | float | bool


class ModelSettings(Settings):
    """Which network, and where its weights come from."""

    factory: str
    """``torchvision:resnet18``, ``timm:NAME``, or ``path/to/file.py:factory``.

    A path is looked up beside the recipe, in the current directory and among the shipped models.
    """
    arguments: dict[str, Scalar | list[int]] = Field(default_factory=dict)
    """Arguments of the factory; the number of classes and channels of the data are added."""
    weights: str | None = None
    """Weights to start from, ``.safetensors`` or a ``.pth`` that holds only tensors.

    They are then the dense network, and no dense training is done. If they are for another number
    of classes, the head is made new, and the dense network is trained from them.
    """


@dataclass(frozen=True)
class Start:
    """A network as training starts from it.

    Attributes:
        model: The network.
        notices: What had to be done to the weights of a file, a sentence each.
        new_head: Its tensors that the file has for another number of classes; drawn at random.
    """

    model: nn.Module
    notices: tuple[str, ...] = ()
    new_head: tuple[str, ...] = ()


def build_model(
    settings: ModelSettings,
    num_classes: int,
    in_channels: int,
    folders: tuple[Path, ...],
    say: Callable[[str], None] = lambda _notice: None,
) -> nn.Module:
    """The network, its random weights drawn from torch's global generator.

    Args:
        settings: Which network.
        num_classes: Classes of the data.
        in_channels: Channels of its images.
        folders: Where factory files are looked for, in this order.
        say: Whom to tell what had to be done to the weights of a file.

    Raises:
        ModelError: No such factory, or it does not accept its arguments.
        MissingExtra: timm is asked for and not installed.
    """
    start = start_model(settings, num_classes, in_channels, folders)
    for notice in start.notices:
        say(notice)
    return start.model


def start_model(
    settings: ModelSettings, num_classes: int, in_channels: int, folders: tuple[Path, ...]
) -> Start:
    """The network, and what became of the weights that the settings name.

    Args:
        settings: Which network.
        num_classes: Classes of the data.
        in_channels: Channels of its images.
        folders: Where factory files are looked for, in this order.

    Raises:
        ModelError: As ``build_model``, or the weights are not for this network.
        MissingExtra: timm is asked for and not installed.
    """
    factory = _factory(settings.factory, folders)
    model = _built(factory, settings, num_classes, in_channels)
    if settings.weights is None:
        return Start(model)

    def head() -> tuple[str, ...]:
        return followers(model, _built(factory, settings, num_classes + 1, in_channels))

    loaded = load_body(model, find_file(settings.weights, folders), head)
    return Start(model, loaded.notices, loaded.new_head)


def _built(
    factory: Callable[..., Any], settings: ModelSettings, num_classes: int, in_channels: int
) -> nn.Module:
    arguments = {**_data_arguments(factory, num_classes, in_channels), **settings.arguments}
    try:
        model = factory(**arguments)
    except Exception as failure:
        raise ModelError(
            f"{settings.factory} cannot be built with {arguments}: {type(failure).__name__}: "
            f"{failure}. Mend model.arguments, or the factory."
        ) from failure
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{settings.factory} gave a {type(model).__name__}, not a torch.nn.Module. "
            "Name a function that returns the network."
        )
    return model


def find_file(path: str, folders: tuple[Path, ...]) -> Path:
    """The first of ``folders`` that has the file; else the path as it is, for the message."""
    places = [folder / Path(path).expanduser() for folder in folders]
    return next((place for place in places if place.is_file()), Path(path))


def _factory(reference: str, folders: tuple[Path, ...]) -> Callable[..., Any]:
    home, _, name = reference.rpartition(":")
    if home == "torchvision":
        return _torchvision(name)
    if home == "timm":
        return _timm(name)
    if home.endswith(".py"):
        return _from_file(home, name, folders)
    raise ModelError(
        f"model.factory is {reference!r}. "
        "Write torchvision:NAME, timm:NAME or path/to/file.py:NAME."
    )


def _torchvision(name: str) -> Callable[..., Any]:
    from torchvision import models

    # Of this module only: detectors and segmenters have other outputs, and fetch weights.
    if name not in models.list_models(module=models):
        near = did_you_mean(name, models.list_models(module=models))
        told = f"torchvision has no model {name!r}. {near}".rstrip()
        raise ModelError(f"{told} See `compressor list models`.")

    def build(**arguments: Any) -> nn.Module:
        built: nn.Module = models.get_model(name, weights=None, **arguments)
        return built

    return build


def _timm(name: str) -> Callable[..., Any]:
    if importlib.util.find_spec("timm") is None:
        raise MissingExtra(f"timm:{name} needs timm. Install it: pip install timm.")
    timm = importlib.import_module("timm")
    if not timm.is_model(name):
        told = f"timm has no model {name!r}. {did_you_mean(name, timm.list_models())}".rstrip()
        raise ModelError(f"{told} See timm.list_models().")

    def build(num_classes: int, in_chans: int, **arguments: Any) -> Any:
        return timm.create_model(name, num_classes=num_classes, in_chans=in_chans, **arguments)

    return build


def _from_file(path: str, name: str, folders: tuple[Path, ...]) -> Callable[..., Any]:
    places = [folder / path for folder in folders]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        looked = ", ".join(str(place) for place in places)
        raise ModelError(f"{path}: there is no such file. Looked for {looked}. Mend model.factory.")
    spec = importlib.util.spec_from_file_location(f"compressor_model_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and whatever reads the source look a module up here.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        raise ModelError(
            f"{file} cannot be imported: {type(failure).__name__}: {failure}. "
            "Mend the file, or install what it needs."
        ) from failure
    factory = getattr(module, name, None)
    if not callable(factory):
        functions = [known for known, value in vars(module).items() if callable(value)]
        told = f"{file} has no function {name!r}. {did_you_mean(name, functions)}".rstrip()
        raise ModelError(f"{told} Name one that returns the network.")
    return factory  # type: ignore[no-any-return]


def _data_arguments(
    factory: Callable[..., Any], num_classes: int, in_channels: int
) -> Mapping[str, int]:
    """What the data says, under the names that the factory knows."""
    parameters = inspect.signature(factory).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    known = {"num_classes": num_classes, "in_channels": in_channels, "in_chans": in_channels}
    named = {key: value for key, value in known.items() if key in parameters}
    return {"num_classes": num_classes, **named} if takes_all else named

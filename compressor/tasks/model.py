"""Networks by name: a torchvision or timm builder, or a factory in a Python file."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from compressor.errors import MissingExtra, ModelError
from compressor.settings import Settings

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

    They are then the dense network, and no dense training is done.
    """


def build_model(
    settings: ModelSettings, num_classes: int, in_channels: int, folders: tuple[Path, ...]
) -> nn.Module:
    """The network, its random weights drawn from torch's global generator.

    Args:
        settings: Which network.
        num_classes: Classes of the data.
        in_channels: Channels of its images.
        folders: Where factory files are looked for, in this order.

    Raises:
        ModelError: No such factory, or it does not accept its arguments.
        MissingExtra: timm is asked for and not installed.
    """
    factory = _factory(settings.factory, folders)
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
    if settings.weights is not None:
        load_weights(model, find_file(settings.weights, folders))
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
        raise ModelError(f"torchvision has no model {name!r}. See `compressor list models`.")

    def build(**arguments: Any) -> nn.Module:
        built: nn.Module = models.get_model(name, weights=None, **arguments)
        return built

    return build


def _timm(name: str) -> Callable[..., Any]:
    if importlib.util.find_spec("timm") is None:
        raise MissingExtra(f"timm:{name} needs timm. Install it: pip install 'compressor[timm]'.")
    timm = importlib.import_module("timm")
    if not timm.is_model(name):
        raise ModelError(f"timm has no model {name!r}. See timm.list_models().")

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
        raise ModelError(f"{file} has no function {name!r}. Name one that returns the network.")
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


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict into ``model``; only tensors are read, nothing is unpickled.

    Raises:
        ModelError: No such file, a file that holds more than tensors, or other keys or shapes.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there are no weights. Give a .safetensors or .pth file.")
    state = _read_state(path)
    if misfits := _misfits(model.state_dict(), state):
        more = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
        raise ModelError(
            f"{path} is not for this network: {misfits[0]}{more}. "
            "Use the weights of the same architecture and number of classes."
        )
    model.load_state_dict(state)


def _misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What keeps ``given`` from being loaded, a phrase each; other shapes first."""
    shapes = [
        f"{name} has shape {tuple(given[name].shape)} in the file and {tuple(value.shape)} in the "
        "network"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    missing = [f"the file has no {name}" for name in wanted if name not in given]
    strangers = [f"the network has no {name}" for name in given if name not in wanted]
    return shapes + missing + strangers


def _read_state(path: Path) -> dict[str, Tensor]:
    import pickle  # for the name of its error only

    import safetensors
    import safetensors.torch

    # A damaged file can make its reader fail in any of these ways.
    unreadable = (
        pickle.UnpicklingError,
        safetensors.SafetensorError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
    )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # weights_only refuses everything but tensors and plain containers.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except unreadable as failure:
        raise _not_plain(path) from failure
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _not_plain(path)
    return dict(state)


def _not_plain(path: Path) -> ModelError:
    return ModelError(
        f"{path} is not a file of plain weights. Save model.state_dict() as .safetensors."
    )

"""Methods of sparse training for a training loop that is not ours."""

from collections.abc import Mapping
from typing import Any

import torch

from compressor.api.given import read
from compressor.errors import RecipeError, TrainError
from compressor.overrides import near
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.sparsity.catalog import METHODS
from compressor.sparsity.split_lbi import SplitLBI, SplitLBISettings


def horizon(
    optimizer: torch.optim.Optimizer, num_steps: int, num_epochs: int = 1, seed: int = 0
) -> Horizon:
    """How long a training at the optimiser's present, constant rate will be.

    >>> import torch, compressor
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> compressor.horizon(optimizer, num_steps=50, num_epochs=5).path_time
    5.0

    Args:
        optimizer: All its groups have one learning rate.
        num_steps: Steps that the optimiser will make, at least 1.
        num_epochs: Passes over the images.
        seed: Of methods that draw random numbers.

    Raises:
        TrainError: No steps, no epochs, or several rates.
    """
    rates = sorted({float(group["lr"]) for group in optimizer.param_groups})
    if num_steps < 1 or num_epochs < 1:
        raise TrainError(
            f"num_steps is {num_steps} and num_epochs {num_epochs}. Give at least 1 of both."
        )
    if len(rates) > 1:
        raise TrainError(
            f"The optimiser has {len(rates)} learning rates, {rates[0]:g} to {rates[-1]:g}. Give "
            "compressor.Horizon(num_steps, path_time, seed), path_time the sum of the rates of "
            "all steps for the layers that shall shrink."
        )
    return Horizon(num_steps, rates[0] * num_steps, seed, num_epochs)


def make_method(
    name: str, length: Horizon, settings: Mapping[str, Any] | None = None
) -> Sparsifier:
    """A method of sparse training, to be attached to a network and its optimiser.

    >>> import compressor
    >>> length = compressor.Horizon(num_steps=50, path_time=5.0, seed=0)
    >>> method = compressor.make_method("magnitude", length, {"level": "weight", "density": 0.2})
    >>> method.state_dict()["method"]
    'magnitude'

    Args:
        name: As `compressor list methods` has it.
        length: Of the training; see ``horizon``.
        settings: Those of the method that are not to be its defaults, as in ``[sparsity]``.

    Raises:
        RecipeError: No such method or setting, or a value that it does not take.
    """
    if name not in METHODS:
        raise RecipeError(f"{name!r} is not a method. {near(name, METHODS)}")
    method = METHODS[name]
    return method.build(read(method.settings, f"{name} settings", settings or {}), length)


class DessiLBI(SplitLBI):
    """DessiLBI on couplings, for any loop: attach it, train as ever, detach it.

    >>> import torch, compressor
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
    >>> couplings = compressor.find_couplings(net, torch.randn(2, 1, 8, 8), "index-flow")
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> method = compressor.DessiLBI(compressor.horizon(optimizer, num_steps=10))
    >>> method.attach(net, optimizer, couplings)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     net(torch.randn(4, 1, 8, 8)).square().mean().backward()
    ...     optimizer.step()  # the method steps with it
    >>> method.detach()
    >>> method.structure().num_units
    8
    """

    def __init__(self, length: Horizon, settings: SplitLBISettings | None = None) -> None:
        """Make it for a training of this length.

        Args:
            length: See ``horizon``.
            settings: Those of the method; the defaults calibrate themselves from the length.
        """
        super().__init__(settings or SplitLBISettings(), length)

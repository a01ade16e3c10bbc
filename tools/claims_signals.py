"""MNIST-1D, the network of the experiments on it, and how it is trained there.

The pilots trained on 8000 signals in batches of 64 and tested on 2000, over 60 epochs: 7500 steps.
A plain loop, since such small steps are mostly overhead; methods are attached as the product does.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from compressor.couplings.coupling import Couplings
from compressor.errors import MissingExtra
from compressor.sparsity.base import Horizon, Sparsifier
from compressor.train.order import batch_places, epoch_order
from compressor.train.schedule import learning_rate, path_time
from compressor.train.settings import TrainSettings

NUM_SIGNALS, TRAIN_SHARE = 10_000, 0.8
LENGTH, HIDDEN, NUM_CLASSES = 40, 256, 10
EPOCHS, BATCH, RATE, DECAY = 60, 64, 0.1, 5e-4


@dataclass(frozen=True)
class Signals:
    """Signals and their classes, float32 of shape ``(signals, 40)`` and int64."""

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


@cache
def signals() -> Signals:
    """The same 8000 and 2000 signals every time; a few seconds the first time.

    Raises:
        MissingExtra: The generator is not installed.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as failure:
        raise MissingExtra(
            f"MNIST-1D is made by the package mnist1d, which cannot be imported ({failure}). "
            "Install it: pip install mnist1d"
        ) from failure
    arguments = get_dataset_args()
    arguments.num_samples, arguments.train_split = NUM_SIGNALS, TRAIN_SHARE
    # The generator seeds the global ones.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    made = make_dataset(arguments)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    return Signals(
        torch.from_numpy(made["x"]).float(),
        torch.from_numpy(made["y"]).long(),
        torch.from_numpy(made["x_test"]).float(),
        torch.from_numpy(made["y_test"]).long(),
    )


def network(seed: int) -> nn.Module:
    """A fresh perceptron 40-256-256-10, its weights drawn by ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(LENGTH, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, NUM_CLASSES),
        )


def settings_of(effort: float, times: int = 1) -> TrainSettings:
    """Momentum SGD along a cosine, with weight decay."""
    epochs = times * max(2, round(effort * EPOCHS))
    return TrainSettings(epochs=epochs, batch_size=BATCH, lr=RATE, weight_decay=DECAY)


def trained(
    make: Callable[[Horizon], Sparsifier], settings: TrainSettings, seed: int
) -> tuple[nn.Module, Sparsifier]:
    """A network trained under the method that ``make`` makes, which is detached again."""
    data, net = signals(), network(seed)
    per_epoch = len(data.inputs) // settings.batch_size
    horizon = Horizon(
        num_steps=settings.epochs * per_epoch,
        path_time=path_time(settings, per_epoch),
        seed=seed,
        num_epochs=settings.epochs,
    )
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in net.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    method = make(horizon)
    method.attach(net, optimizer, Couplings(()))
    for step in range(horizon.num_steps):
        epoch, batch = divmod(step, per_epoch)
        if batch == 0:
            order = epoch_order(len(data.inputs), seed, epoch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step, per_epoch)
        places = batch_places(order, batch, settings.batch_size)
        optimizer.zero_grad()
        functional.cross_entropy(net(data.inputs[places]), data.targets[places]).backward()
        optimizer.step()
    method.detach()
    return net, method


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    """Share of the test signals that ``net`` gets right."""
    data = signals()
    return float((net(data.test_inputs).argmax(dim=1) == data.test_targets).double().mean())

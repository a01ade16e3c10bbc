"""One training step with a method beside one without: times in turns, and bytes."""

import contextlib
import copy
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bench_step_memory import meter_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_leaves

from compressor.bench.stopwatch import CLOCKS, Clock
from compressor.couplings.coupling import Couplings
from compressor.errors import CheckError
from compressor.memory import no_collection
from compressor.sparsity.base import Sparsifier
from compressor.train.optimizer import make_optimizer
from compressor.train.settings import OptimiserSettings

SGD = OptimiserSettings(lr=0.01, momentum=0.9, weight_decay=5e-4)
"""The optimiser on both sides; so low a rate that nothing overflows on one batch again and again.
"""

WARMUP_STEPS = 2
"""Untimed steps of each side; the first makes momentum, and the state of some methods."""

SEED = 0

MakeMethod = Callable[[], Sparsifier]
"""A method that is not attached yet."""


@dataclass(frozen=True)
class Setting:
    """What both sides have in common.

    Attributes:
        model: The network; each side trains a copy.
        couplings: Its couplings.
        images: One batch.
        labels: Its classes.
        device: Where to.
    """

    model: nn.Module
    couplings: Couplings
    images: Tensor
    labels: Tensor
    device: torch.device


@dataclass(frozen=True)
class Times:
    """Seconds of one training step.

    Attributes:
        whole: Forward, backward, the optimiser's step with all hooks, and clearing gradients.
        optimizer: The optimiser's step with all hooks.
    """

    whole: float
    optimizer: float


@dataclass(frozen=True)
class Memory:
    """Bytes of tensors.

    Attributes:
        peak: Most at one moment of a whole training step: network, gradients, activations, momentum
            and the method's own.
        kept: What stays between two steps.
        twinned: Parameters that have a twin; None for methods without twins.
    """

    peak: int
    kept: int
    twinned: int | None = None


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        """Of at least one sample."""
        low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Timing:
    """A method's times against those of plain SGD, each ratio from one round.

    Attributes:
        step_ratio: Whole step over SGD's.
        optimizer_ratio: The optimiser's part over SGD's.
        optimizer_share: What the optimiser's part takes more than SGD's, over SGD's whole step.
        sgd_seconds: SGD's whole step, median.
    """

    step_ratio: Spread
    optimizer_ratio: Spread
    optimizer_share: Spread
    sgd_seconds: float


class Side:
    """A network in training, its optimiser and, where there is one, the method."""

    def __init__(self, model: nn.Module, setting: Setting, make_method: MakeMethod | None) -> None:
        self._model = model
        images = setting.images.to(setting.device, copy=True)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._labels = setting.labels.to(setting.device, copy=True)
        self._optimizer = make_optimizer(model, SGD)
        self._method = make_method() if make_method is not None else None
        if self._method is not None:
            self._method.attach(model, self._optimizer, setting.couplings)

    def step(self, clock: Clock) -> Times:
        """Train one step."""
        began = clock()
        loss = cross_entropy(self._model(self._images), self._labels)
        if self._method is not None and (penalty := self._method.penalty()) is not None:
            loss = loss + penalty
        loss.backward()
        before = clock()
        self._optimizer.step()
        after = clock()
        self._optimizer.zero_grad()
        return Times(clock() - began, after - before)

    def twinned_bytes(self) -> int | None:
        """Bytes of the parameters that have a twin; None for methods without twins."""
        state = self._method.state_dict() if self._method is not None else {}
        if "twins" not in state:
            return None
        duals = tree_leaves([twin["dual"] for twin in state["twins"].values()])
        # As many numbers as the parameters, whatever their type in the twin.
        return sum(dual.numel() for dual in duals) * torch.float32.itemsize

    def check(self) -> None:
        """Raise unless all parameters are finite: what overflows is no training, however fast.

        Raises:
            CheckError: One is not.
        """
        for name, parameter in self._model.named_parameters():
            if not parameter.isfinite().all():
                raise CheckError(
                    f"{name} is not finite after a few steps. Lower the method's rate."
                )


def copied(setting: Setting) -> nn.Module:
    """A copy of the network, laid out as the training loop lays networks out."""
    model = copy.deepcopy(setting.model).to(setting.device)
    return model.to(memory_format=torch.channels_last).train()


def clock_of(device: torch.device, num_threads: int) -> Clock:
    """The clock that other programs disturb least."""
    if device.type == "cuda":
        return _cuda_clock
    return CLOCKS["process" if num_threads == 1 else "wall"]


def _cuda_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def time_against_sgd(
    setting: Setting, make_method: MakeMethod, num_rounds: int, clock: Clock
) -> Timing:
    """Times of both in turns, in one process; who comes first changes from round to round.

    Raises:
        CheckError: The method's parameters overflow.
    """
    with kept_random():
        sgd = Side(copied(setting), setting, None)
        method = Side(copied(setting), setting, make_method)
        for _ in range(WARMUP_STEPS):
            _round(sgd, method, clock, turned=False)
        gc.collect()
        with no_collection():
            rounds = [
                _round(sgd, method, clock, turned=index % 2 == 1) for index in range(num_rounds)
            ]
    method.check()
    return timing(rounds)


def _round(sgd: Side, method: Side, clock: Clock, *, turned: bool) -> tuple[Times, Times]:
    """One step of each, SGD's times first in the result whoever went first."""
    if turned:
        times = method.step(clock)
        return sgd.step(clock), times
    return sgd.step(clock), method.step(clock)


def timing(rounds: Sequence[tuple[Times, Times]]) -> Timing:
    """What rounds of (SGD, method) say."""
    return Timing(
        step_ratio=Spread.of([other.whole / sgd.whole for sgd, other in rounds]),
        optimizer_ratio=Spread.of([other.optimizer / sgd.optimizer for sgd, other in rounds]),
        optimizer_share=Spread.of(
            [(other.optimizer - sgd.optimizer) / sgd.whole for sgd, other in rounds]
        ),
        sgd_seconds=Spread.of([sgd.whole for sgd, _ in rounds]).median,
    )


def memory_of(setting: Setting, make_method: MakeMethod | None) -> Memory:
    """Bytes of one training step after the first few; with no method, those of plain SGD."""
    model = copied(setting)
    with kept_random(), meter_of(setting.device) as meter:
        meter.watch([*model.parameters(), *model.buffers()])
        side = Side(model, setting, make_method)
        for _ in range(WARMUP_STEPS):
            side.step(time.perf_counter)
        meter.restart_peak()
        side.step(time.perf_counter)
        return Memory(meter.peak, meter.live(), side.twinned_bytes())


@contextlib.contextmanager
def kept_random() -> Iterator[None]:
    """Draw from the fixed seed inside the block, and leave the generators as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(SEED)
        yield

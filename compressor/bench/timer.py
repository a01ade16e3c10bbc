"""Interleaved timing, and what may be said of the samples.

Two networks are never compared by numbers from two runs: frequency, caches and neighbours change
them by more than pruning does. They take turns in one process, and the ratio is what counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from compressor.bench.cuda_stopwatch import CUDA_EVENTS
from compressor.bench.names import ClockName
from compressor.bench.runner import Runner
from compressor.bench.stopwatch import Clock, Stopwatch, stopwatch
from compressor.engines import CpuEngine
from compressor.errors import CheckError
from compressor.memory import no_collection
from compressor.settings import Settings

MIN_ROUNDS = 2  # one of each order
MIN_SAMPLES_P99 = 300  # below, fewer than three samples lie beyond the 99th percentile
CONFIDENCE = 0.95
NUM_RESAMPLES = 1000
BOOTSTRAP_SEED = 0


class TimingSettings(Settings):
    """How samples are taken, whatever is timed."""

    rounds: int = Field(default=300, ge=MIN_ROUNDS)
    """Timed runs of each network, for each engine and batch size; a p99 needs some hundred."""

    settling_runs: int = Field(default=1, ge=0)
    """Untimed runs of a network right before each timed one, since the other network has just
    emptied the caches. Without any, a MobileNetV3 that alone is 12 times as fast as a ResNet-18
    was 9 to 10 times as fast beside it; with one 11 to 12 times."""

    warmup_rounds: int = Field(default=5, ge=1)
    """Untimed runs of each network, at least."""

    warmup_seconds: float = Field(default=0.2, ge=0)
    """Length of the warm-up, at least; in seconds."""

    max_seconds: float = Field(default=20.0, gt=0)
    """Longest time for the rounds of one engine and batch size, and for its warm-up; in seconds.
    Fewer rounds are then made, but never under two."""

    num_threads: int = Field(default=1, ge=1)
    """Threads of the engine. One, since on a shared machine a run with several waits for the
    slowest of them: there the median of two threads was off up to 33-fold, that of one up to
    threefold. Set it to the number of cores on a machine that is yours alone."""

    clock: ClockName = "wall"
    """``wall``: time that passes. ``process``: time on the CPU, which other programs on a busy
    machine hardly change; for one thread only. ``realtime``: time that passes while the system
    lets no other program in, one round at a time; where it refuses, the record says so.
    ``cuda-events``: time on the GPU between two events on the engine's stream, transfers apart; for
    files on a GPU alone."""

    @model_validator(mode="after")
    def _check_clock(self) -> Self:
        if self.clock == "process" and self.num_threads > 1:
            raise ValueError(
                f"clock 'process' adds up the time of all {self.num_threads} threads. "
                "Use the clock 'wall', or num_threads = 1."
            )
        return self


class BenchSettings(TimingSettings):
    """How latency is measured."""

    # Strictness would refuse the lists that TOML and JSON have in place of tuples.
    batch_sizes: tuple[PositiveInt, ...] = Field(default=(1, 32), min_length=1, strict=False)
    """Images in one run. 1 is the latency of a single request, 32 is near peak throughput."""

    engines: tuple[CpuEngine, ...] = Field(
        default=("onnxruntime", "torch"), min_length=1, strict=False
    )
    """What runs the networks, on this machine's CPU."""

    @model_validator(mode="after")
    def _check_gpu_clock(self) -> Self:
        # A recipe's networks are timed on the CPU beside each other, in PyTorch at least.
        if self.clock == CUDA_EVENTS:
            raise ValueError(
                "clock 'cuda-events' is for files on a GPU: compressor bench a.plan b.plan "
                "--clock cuda-events. Use the clock 'wall' here."
            )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name in ("batch_sizes", "engines"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one value twice: {list(values)}. Name each once.")
        return self


INPUT_SEED = 0


def random_batch(batch_size: int, image_shape: tuple[int, int, int]) -> Tensor:
    """One normal random batch, always the same; shape ``(batch_size, *image_shape)``."""
    generator = torch.Generator().manual_seed(INPUT_SEED)
    return torch.randn(batch_size, *image_shape, generator=generator)


def timing_facts(settings: TimingSettings) -> dict[str, Any]:
    """How samples are taken, in words and numbers that two records can be compared by."""
    return {
        "num_threads": settings.num_threads,
        "rounds": settings.rounds,
        "settling_runs": settings.settling_runs,
        "warmup_rounds": settings.warmup_rounds,
        "warmup_seconds": settings.warmup_seconds,
        "max_seconds": settings.max_seconds,
        "order": "interleaved: one timed run of each in a round, order alternating",
        "percentiles": "nearest rank",
        "interval": f"{CONFIDENCE:.0%}, {NUM_RESAMPLES} bootstrap draws of whole rounds",
        "inputs": f"one normal random batch, seed {INPUT_SEED}",
    }


@dataclass(frozen=True)
class Latency:
    """Statistics of one network's samples, in milliseconds; nearest-rank percentiles."""

    p50: float
    p90: float
    p99: float
    mean: float
    min: float
    num_samples: int

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "Latency":
        """Statistics of at least one sample."""
        return cls(
            p50=nearest_rank(samples_ms, 50),
            p90=nearest_rank(samples_ms, 90),
            p99=nearest_rank(samples_ms, 99),
            mean=float(np.mean(samples_ms)),
            min=min(samples_ms),
            num_samples=len(samples_ms),
        )

    @property
    def p99_reliable(self) -> bool:
        """Whether enough samples lie beyond the 99th percentile for it to mean anything."""
        return self.num_samples >= MIN_SAMPLES_P99

    def to_json(self) -> dict[str, Any]:
        """The fields, with ``samples`` for their number and whether p99 is reliable."""
        fields = asdict(self)
        fields["samples"] = fields.pop("num_samples")
        return {**fields, "p99_reliable": self.p99_reliable}


@dataclass(frozen=True)
class Ratio:
    """How many times faster: ratio of the medians, with its bootstrap interval.

    Attributes:
        median: p50 of the dense network over p50 of the slim one; above 1 the slim one is faster.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
    """

    median: float
    low: float
    high: float


def nearest_rank(samples: Sequence[float], percent: int) -> float:
    """Smallest sample that at least ``percent`` % of the samples do not exceed.

    Args:
        samples: At least one, in any order.
        percent: From 1 to 100.
    """
    # Whole numbers only: (1 - 0.9) * 100 is 9.999... in floating point.
    rank = -(-percent * len(samples) // 100)
    return float(sorted(samples)[rank - 1])


def interleave(
    runners: Mapping[str, Runner],
    settings: TimingSettings,
    clock: Clock,
    watch: Stopwatch | None = None,
) -> dict[str, list[float]]:
    """Samples in milliseconds, by runner: one timed run of each in a round.

    All runners warm up first, by count and by time. The order is reversed in every second round,
    so that neither always follows the other.

    Args:
        runners: Each prepared with its batch.
        settings: Rounds and time limits.
        clock: Measures the time limits.
        watch: Times the runs; the settings' own, reading ``clock``, unless given.
    """
    watch = watch or stopwatch(settings.clock, clock)
    warm_up(runners, settings, clock)
    samples: dict[str, list[float]] = {name: [] for name in runners}
    with no_collection():
        started = clock()
        for index in range(settings.rounds):
            with watch.round():
                for name in order(runners, index):
                    samples[name].append(time_ms(runners[name], settings.settling_runs, watch))
            if index + 1 >= MIN_ROUNDS and clock() - started >= settings.max_seconds:
                break
    return samples


def warm_up(runners: Mapping[str, Runner], settings: TimingSettings, clock: Clock) -> None:
    """Run all until both the count and the time are reached, or the time for one pair is over."""
    started, elapsed, num_rounds = clock(), 0.0, 0
    while elapsed < settings.max_seconds and (
        num_rounds < settings.warmup_rounds or elapsed < settings.warmup_seconds
    ):
        for name in order(runners, num_rounds):
            runners[name].run()
        num_rounds += 1
        elapsed = clock() - started


def order(runners: Mapping[str, Runner], index: int) -> list[str]:
    """Names as given in even rounds, backwards in odd ones."""
    names = list(runners)
    return names if index % 2 == 0 else names[::-1]


def time_ms(runner: Runner, settling_runs: int, watch: Stopwatch) -> float:
    """Duration of one run in milliseconds, after ``settling_runs`` that do not count."""
    for _ in range(settling_runs):
        runner.run()
    return watch.time_ms(runner)


def compare(
    dense_ms: Sequence[float], slim_ms: Sequence[float], seed: int = BOOTSTRAP_SEED
) -> Ratio:
    """Ratio of the medians of two interleaved series, with a 95 % bootstrap interval.

    Whole rounds are drawn again, both sides together, so what slows both sides of a round cancels
    out. Rounds count as independent of each other.

    Args:
        dense_ms: One sample for each round.
        slim_ms: One sample for each round, in the same order.
        seed: Of the bootstrap.

    Raises:
        CheckError: The clock is too coarse for the network.
    """
    dense, slim = np.asarray(dense_ms, np.float64), np.asarray(slim_ms, np.float64)
    if dense.shape != slim.shape:
        raise ValueError(f"{dense.size} samples against {slim.size}: they are not interleaved")
    if slim.min() <= 0:
        raise CheckError("The clock is too coarse: a run took 0 ms. Use clock = 'wall'.")
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, dense.size, dense.size) for _ in range(NUM_RESAMPLES)]
    ratios = [_p50(dense[draw]) / _p50(slim[draw]) for draw in draws]
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Ratio(_p50(dense) / _p50(slim), float(low), float(high))


def _p50(samples: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The same median as ``nearest_rank(samples, 50)``, quick enough for the bootstrap."""
    middle = (samples.size - 1) // 2
    return float(np.partition(samples, middle)[middle])

"""What was timed in a run, as its files hold it."""

from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat

from compressor.report.part import Part


class Percentiles(Part):
    """Latencies of one batch, in milliseconds."""

    p50: NonNegativeFloat
    p90: NonNegativeFloat
    p99: NonNegativeFloat
    p99_reliable: bool = True
    """Whether it is of enough samples; where a run does not say, it is shown unmarked."""


class SpeedUp(Part):
    """Dense time over slim time: median and the two ends of its interval."""

    median: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat


class ChainLink(Percentiles):
    """Times of one file or network beside the dense network in PyTorch."""

    speedup: SpeedUp


class Chain(Part):
    """All that was timed beside the dense network in PyTorch, by batch size and name."""

    reference: str
    unmeasured: list[str]
    latency: dict[int, dict[str, ChainLink]]


class Latency(Part):
    """``bench/latency.json``: the speed-up goes by engine and batch size."""

    speedup: dict[str, dict[int, SpeedUp]]
    environment: dict[str, Any]
    method: dict[str, Any]
    chain: Chain | None = None

"""How the tool times: everything that is compared takes turns in one process."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from compressor.bench.runner import Runner
from compressor.bench.stopwatch import CLOCKS
from compressor.bench.timer import Latency, TimingSettings, compare, interleave
from compressor.bench.torch_runner import torch_threads

Figures = dict[str, Any]

Makers = Mapping[str, Callable[[], Runner]]
"""What makes a runner, by the name of what it runs."""


@dataclass(frozen=True)
class How:
    """How much is timed.

    Attributes:
        rounds: Timed runs of each network in one comparison.
        max_seconds: No new round of a comparison is begun after this.
        layers: Folder of the times of single layers, which serve one measurement alone.
    """

    rounds: int
    max_seconds: float
    layers: Path

    def timing(self, num_threads: int) -> TimingSettings:
        """Settings for so many threads: time on the CPU for one, which others hardly change."""
        return TimingSettings(
            rounds=self.rounds,
            max_seconds=self.max_seconds,
            num_threads=num_threads,
            clock="process" if num_threads == 1 else "wall",
        )


def side_by_side(
    makers: Makers, reference: str, batch: Tensor, settings: TimingSettings
) -> dict[str, Figures]:
    """For each name the figures of ``Latency``, and ``speedup`` over the ``reference``."""
    # Set once and not in each run: to change their number would be timed with it.
    with ExitStack() as stack, torch_threads(settings.num_threads):
        runners = {}
        for name, make in makers.items():
            runners[name] = make()
            stack.callback(runners[name].close)
            runners[name].prepare(batch)
        samples = interleave(runners, settings, CLOCKS[settings.clock])
    return {
        name: {
            **Latency.of(samples_ms).to_json(),
            "speedup": asdict(compare(samples[reference], samples_ms)),
        }
        for name, samples_ms in samples.items()
    }

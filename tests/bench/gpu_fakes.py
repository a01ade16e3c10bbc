# ruff: noqa: ARG002 - the fakes have the signatures of what they stand for
"""A GPU's timeline, a runner that launches on it, and NVML, none of which needs a GPU."""

import dataclasses
from types import SimpleNamespace

import torch

from compressor.tensorrt.cuda import Gpu

COPY_IN_MS, COPY_OUT_MS = 0.5, 0.25


class Timeline:
    """Milliseconds that pass only when something is launched."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def spend(self, name, ms):
        self.log.append(name)
        self.now += ms


class FakeEvent:
    def __init__(self, timeline):
        self._timeline, self.at = timeline, None

    def record(self, stream):
        assert stream.timeline is self._timeline
        self._timeline.log.append("record")
        self.at = self._timeline.now

    def synchronize(self):
        assert self.at is not None

    def elapsed_time(self, end_event):
        return end_event.at - self.at


class FakeLauncher:
    """A runner on a GPU: 2 ms from a graph, 3 ms without; ``refusal`` is why it cannot capture."""

    engine = "tensorrt"

    def __init__(self, timeline, refusal=None, version="10.16.1.11"):
        self._timeline, self._refusal, self._version = timeline, refusal, version
        self.stream = SimpleNamespace(
            timeline=timeline, synchronize=lambda: timeline.log.append("synchronise")
        )
        self.asked, self.num_events = "graph", 0

    @property
    def launched(self):
        return "stream" if self._refusal else self.asked

    def launch_by(self, launch):
        self.asked = launch

    def prepare(self, batch):
        self._timeline.log.append(f"prepare {self.asked}")

    def launch(self):
        self._timeline.spend(self.launched, 2.0 if self.launched == "graph" else 3.0)

    def copy_in(self):
        self._timeline.spend("in", COPY_IN_MS)

    def copy_out(self):
        self._timeline.spend("out", COPY_OUT_MS)

    def new_event(self):
        self.num_events += 1
        return FakeEvent(self._timeline)

    def run(self):
        self._timeline.spend("run", 100.0)
        return torch.zeros(1)

    def facts(self):
        return {
            "asked": self.asked,
            "launched": self.launched,
            "fallback": self._refusal if self.asked == "graph" else None,
            "engine_version": self._version,
        }

    def close(self):
        self._timeline.log.append("close")


@dataclasses.dataclass
class FakeDevice:
    """What is asked of CUDA before a plan is opened."""

    available: bool = True

    def is_available(self):
        return self.available

    def uuid(self):
        return "GPU-1234"

    def gpu(self):
        return Gpu(name="NVIDIA A10", capability=(8, 6), driver=None)


class NVMLError(Exception):
    pass


class FakeNvml:
    """The module ``pynvml``; ``looks`` are states in turn, the last one for ever.

    A look is (SM MHz, memory MHz, degrees, milliwatts, reasons); what is an error is raised.
    """

    NVMLError = NVMLError

    def __init__(self, *looks, start=None, knows="GPU-1234"):
        self._looks, self._start, self._knows = list(looks), start, knows
        self.num_open = self.num_read = 0

    def nvmlInit(self):
        if self._start is not None:
            raise NVMLError(self._start)
        self.num_open += 1

    def nvmlShutdown(self):
        self.num_open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != self._knows:
            raise NVMLError("Not Found")
        return "handle"

    def _give(self, index):
        value = self._looks[0][index]
        if isinstance(value, NVMLError):
            raise value
        return value

    def nvmlDeviceGetClockInfo(self, handle, kind):
        assert handle == "handle"
        return self._give({1: 0, 2: 1}[kind])

    def nvmlDeviceGetTemperature(self, handle, sensor):
        assert sensor == 0
        return self._give(2)

    def nvmlDeviceGetPowerUsage(self, handle):
        return self._give(3)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        bits = self._give(4)
        self.num_read += 1
        if len(self._looks) > 1:
            self._looks.pop(0)
        return bits

"""The little of CUDA that building and running need, behind one protocol.

Tests without a GPU pass an object of their own in place of ``TorchCuda``.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from compressor.settings import Settings

DRIVER_FILE = Path("/proc/driver/nvidia/version")


class Gpu(Settings):
    """One GPU, as far as a plan depends on it."""

    name: str
    """Name that the driver gives, for example ``NVIDIA A10``."""
    capability: tuple[int, int]
    """Compute capability, major and minor."""
    driver: str | None
    """Version of the driver; ``None`` where it cannot be read."""

    def __str__(self) -> str:
        """Name and capability, as errors say them."""
        return f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]})"


class Stream(Protocol):
    """What is used of ``torch.cuda.Stream``."""

    @property
    def cuda_stream(self) -> int:
        """The stream's handle."""
        ...

    def wait_stream(self, stream: Any) -> None:
        """Let all later work of this stream wait for the present work of another."""
        ...

    def synchronize(self) -> None:
        """Return when all work of the stream is done."""
        ...


class Event(Protocol):
    """A moment on a stream, which the GPU writes down when it gets there."""

    def record(self, stream: Any) -> None:
        """Let the stream write the moment down after all that was launched on it so far."""
        ...

    def synchronize(self) -> None:
        """Return when the moment has been written down."""
        ...

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this moment to that of another event; both must be over."""
        ...


class Graph(Protocol):
    """A captured CUDA graph; it runs on the current stream."""

    def replay(self) -> None:
        """Run the captured work again, on the same addresses."""
        ...


class Cuda(Protocol):
    """The functions of CUDA that building and running call."""

    def is_available(self) -> bool:
        """Whether there is a device with a driver."""
        ...

    def gpu(self) -> Gpu:
        """The current device; only where one is available."""
        ...

    def device(self) -> torch.device:
        """Where buffers live."""
        ...

    def new_stream(self) -> Stream:
        """A stream that is not the default one."""
        ...

    def current_stream(self) -> Stream:
        """The stream on which torch works now."""
        ...

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Let torch work on ``stream`` in the block."""
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """``work``, done once on ``stream``, as a graph.

        Raises:
            RuntimeError: It holds work that cannot be captured.
        """
        ...

    def new_event(self) -> Event:
        """An event that times can be taken between."""
        ...

    def pinned(self, like: Tensor) -> Tensor:
        """An empty tensor as ``like`` in page-locked memory of the machine."""
        ...

    def uuid(self) -> str:
        """The driver's own name of the current device, which is the same in every process."""
        ...


class TorchCuda:
    """CUDA through torch, on torch's current device."""

    def is_available(self) -> bool:
        """Whether there is a device with a driver."""
        return torch.cuda.is_available()

    def gpu(self) -> Gpu:
        """The current device."""
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        return Gpu(name=name, capability=capability, driver=driver_version())

    def device(self) -> torch.device:
        """The current device, with its index: buffers must not move when another is chosen."""
        return torch.device("cuda", torch.cuda.current_device())

    def new_stream(self) -> Stream:
        """A stream that is not the default one."""
        stream: Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        return stream

    def current_stream(self) -> Stream:
        """The stream on which torch works now."""
        stream: Stream = torch.cuda.current_stream()
        return stream

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Let torch work on ``stream`` in the block."""
        assert isinstance(stream, torch.cuda.Stream), "streams come from new_stream"
        block: AbstractContextManager[Any] = torch.cuda.stream(stream)
        return block

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """``work``, done once on ``stream``, as a graph.

        Raises:
            RuntimeError: It holds work that cannot be captured.
        """
        assert isinstance(stream, torch.cuda.Stream), "streams come from new_stream"
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            work()
        return graph

    def new_event(self) -> Event:
        """An event that times can be taken between; waiting for it is not left to an interrupt."""
        event: Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        return event

    def pinned(self, like: Tensor) -> Tensor:
        """An empty tensor as ``like`` in page-locked memory: only such is copied asynchronously."""
        return torch.empty_like(like, device="cpu", pin_memory=True)

    def uuid(self) -> str:
        """The driver's own name of the current device, as NVML takes it."""
        return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"


def driver_version(file: Path = DRIVER_FILE) -> str | None:
    """Version of NVIDIA's kernel module; ``None`` where it does not say one."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)*)\s", text)
    return found[1] if found else None

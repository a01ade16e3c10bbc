"""What settings and commands call clocks and launches; nothing heavy is imported for it."""

from typing import Literal

ClockName = Literal["wall", "process", "realtime", "cuda-events"]
"""How one run is timed; ``stopwatch.CLOCKS`` has what does it."""

CudaGraph = Literal["on", "off", "both"]
"""How runs are launched on a GPU."""

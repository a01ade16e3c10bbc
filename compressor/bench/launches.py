"""What a runner may be able to do besides `Runner`, and only one on a GPU is."""

from typing import Any, Protocol, runtime_checkable

from compressor.tensorrt.cuda import Event, Stream
from compressor.tensorrt.runner import Launch


@runtime_checkable
class TellsFacts(Protocol):
    """A runner that may run a file in more than one way, and says in which it did."""

    def facts(self) -> dict[str, Any]:
        """How runs were made since the last ``prepare``; plain JSON."""
        ...


@runtime_checkable
class Launches(Protocol):
    """A runner whose runs and copies are work on a stream of its own, begun without waiting.

    All of it is launched on ``stream``, so two events on that stream hold between them the work
    that was launched between them, and nothing else.
    """

    engine: str
    """Name of the engine, as in the settings."""

    @property
    def stream(self) -> Stream:
        """The runner's own stream."""
        ...

    def launch(self) -> None:
        """Launch one run."""
        ...

    def copy_in(self) -> None:
        """Launch a copy of the prepared batch from page-locked memory to the GPU."""
        ...

    def copy_out(self) -> None:
        """Launch a copy of all outputs from the GPU to page-locked memory."""
        ...

    def new_event(self) -> Event:
        """An event of the runner's device that times can be taken between."""
        ...


@runtime_checkable
class ChoosesLaunch(Protocol):
    """A runner that can be told to launch from a CUDA graph or anew each time."""

    def launch_by(self, launch: Launch) -> None:
        """Ask for a way of launching; to be said before the first ``prepare``."""
        ...

"""TensorRT and TensorRT-RTX as engines: a plan, run from a CUDA graph where it can be captured."""

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from compressor.errors import ModelError
from compressor.tensorrt.cuda import Event, Graph, Stream
from compressor.tensorrt.load import load_plan
from compressor.tensorrt.module import Kit
from compressor.tensorrt.session import Session

Launch = Literal["graph", "stream"]


class TensorRTRunner:
    """Runs a plan with one input; buffers and graph are kept until the batch has another shape.

    Args:
        plan: The plan, its sidecar beside it.
        kit: The engine.
        launch: ``"graph"`` captures a run and repeats it; ``"stream"`` launches each run anew.
        onnx: The file that it should have been built from, if that matters.

    Raises:
        ModelError: There is no GPU, or the plan is not for this engine on this GPU.

    Attributes:
        engine: Name of the engine, as in the settings.
        launched: How runs are launched since the last ``prepare``.
        fallback: Why they are not launched as was asked for; ``None`` if they are.
    """

    def __init__(
        self, plan: Path, kit: Kit, launch: Launch = "graph", onnx: Path | None = None
    ) -> None:
        opened, self.sidecar = load_plan(kit, plan, onnx)
        self.engine: str = kit.flavour
        self.launched: Launch = "stream"
        self.fallback: str | None = None
        self._kit, self._plan, self._asked = kit, plan, launch
        self._session: Session | None = Session(kit, opened, str(plan))
        self._graph: Graph | None = None
        self._ready: tuple[int, ...] | None = None  # the shape whose prepare came to its end

    def prepare(self, batch: Tensor) -> None:
        """Fix the input of every following ``run``; shape ``(batch, *image_shape)``, any device.

        A shape other than the last one's makes new buffers, runs once, and captures a new graph.

        Raises:
            ModelError: The plan does not take that shape or type, or the engine cannot run it.
        """
        session, batch = self._open(), batch.detach()
        shape = tuple(batch.shape)
        if shape == self._ready:
            session.fill(batch)
            return
        # The graph holds the old addresses: it goes first, and is not there if what follows fails.
        self._graph, self.launched, self.fallback, self._ready = None, "stream", None, None
        session.reshape(shape)
        session.fill(batch)
        # What the engine does once, at its first run, must not be captured.
        self._run_once(session)
        if self._asked == "graph":
            self._capture(session)
        self._ready = shape

    def launch_by(self, launch: Launch) -> None:
        """Ask for another way of launching; to be said before the first ``prepare``."""
        assert self._ready is None, "launch_by comes before prepare"
        self._asked = launch

    def _run_once(self, session: Session) -> None:
        """Launch a run on the stream and wait for it."""
        try:
            session.enqueue()
        except RuntimeError as error:
            raise ModelError(
                f"{self._plan}: {self.engine} cannot run it ({first_line(error)}). Build it again."
            ) from error
        session.stream.synchronize()

    def _capture(self, session: Session) -> None:
        """Make a graph of one run; where that fails, say so and go on without one."""
        try:
            self._graph = self._kit.cuda.capture(session.stream, session.enqueue)
        except RuntimeError as error:
            self.fallback = f"no CUDA graph: {first_line(error)}"
            # A capture that failed may have left the context in the middle of a run.
            self._run_once(session)
            return
        self.launched = "graph"

    @property
    def stream(self) -> Stream:
        """The stream on which runs and copies are launched, the runner's own."""
        return self._open().stream

    def new_event(self) -> Event:
        """An event of the plan's device that times can be taken between."""
        return self._kit.cuda.new_event()

    def copy_in(self) -> None:
        """Launch a copy of the prepared batch from page-locked memory on ``stream``."""
        self._open().copy_in()

    def copy_out(self) -> None:
        """Launch a copy of all outputs to page-locked memory on ``stream``."""
        self._open().copy_out()

    def launch(self) -> None:
        """Launch one run on ``stream``; returns before it is done. For timing by CUDA events."""
        session = self._open()
        assert self._ready is not None, "prepare comes before launch"
        if self._graph is None:
            session.enqueue()
            return
        with self._kit.cuda.on(session.stream):
            self._graph.replay()

    def run(self) -> Tensor:
        """Output for the prepared batch, the plan's first, on the CPU."""
        self.launch()
        self.synchronize()
        session = self._open()
        assert session.buffers is not None, "launch has looked"
        # Off the CPU this copies; on it, the buffer itself would be overwritten by the next run.
        return session.buffers.outputs[session.output_names[0]].to("cpu", copy=True)

    def synchronize(self) -> None:
        """Return when all that was launched is done."""
        self._open().stream.synchronize()

    def facts(self) -> dict[str, Any]:
        """How runs are launched since the last ``prepare``, and why not as asked; plain JSON."""
        return {
            "asked": self._asked,
            "launched": self.launched,
            "fallback": self.fallback,
            "engine_version": self._kit.version,
        }

    def close(self) -> None:
        """Give back graph, buffers and engine; a second time does nothing."""
        if self._session is None:
            return
        self._session.stream.synchronize()
        self._graph = None
        self._session.close()
        self._session = None

    def _open(self) -> Session:
        assert self._session is not None, "the runner is closed"
        return self._session


def first_line(error: BaseException) -> str:
    """First line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

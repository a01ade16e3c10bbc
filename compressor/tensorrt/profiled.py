"""A plan that is run with the engine's own profiler: what each of its layers takes.

Nothing here could be measured where it was written. It follows the description of the bindings, and
is tested over fakes.
"""

from collections.abc import Callable
from typing import Any

from compressor.errors import ModelError
from compressor.tensorrt.inspector import PlanLayer, read_layers
from compressor.tensorrt.load import OpenPlan
from compressor.tensorrt.module import Kit
from compressor.tensorrt.session import Session

Report = Callable[[str, float], None]
"""Takes the name of a layer and what it took, in milliseconds."""


def make_profiler(trt: Any, report: Report) -> Any:
    """A profiler of the module ``trt`` that gives each layer's time to ``report``.

    The class is made here since its base belongs to the module that was passed in.
    """

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return Profiler()


class ProfiledSession(Session):
    """A plan with one input, on a stream of its own, whose layers are timed one by one.

    The events between layers keep the engine from overlapping them: together they take longer than
    a run without a profiler.

    Args:
        kit: The engine.
        plan: The plan, opened.
        name: What to call it in an error.

    Raises:
        ModelError: As for a ``Session``.
    """

    def __init__(self, kit: Kit, plan: OpenPlan, name: str) -> None:
        super().__init__(kit, plan, name)
        self._times: dict[str, float] = {}
        # The engine keeps a pointer to it, so it has to live as long as the context.
        self._profiler = make_profiler(kit.trt, self._add)
        self._context.profiler = self._profiler
        # Times are asked for after each run: else the launch itself would wait for the run's end.
        self._context.enqueue_emits_profile = False

    def _add(self, layer: str, ms: float) -> None:
        self._times[layer] = self._times.get(layer, 0.0) + ms

    def run_layers(self) -> dict[str, float]:
        """Run once; milliseconds of each layer by its name, in the order in which they ran.

        Raises:
            ModelError: The engine cannot run it, or tells no times.
        """
        assert self.buffers is not None, "reshape and fill come before a run"
        self._times = {}
        try:
            self.enqueue()
        except RuntimeError as error:
            raise ModelError(f"{self._name}: {error}. Build it again.") from error
        self.stream.synchronize()
        if not self._context.report_to_profiler() or not self._times:
            raise ModelError(
                f"{self._name}: the engine ran it and told no times of its layers. Profile it with "
                "NVIDIA's command line tool, or use onnxruntime."
            )
        return dict(self._times)

    def layers(self) -> tuple[PlanLayer, ...]:
        """The plan's layers, with the sizes that tensors have for the shape that was set last.

        Raises:
            CheckError: The plan does not say what its layers are.
        """
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        json = self._kit.trt.LayerInformationFormat.JSON
        return read_layers(str(inspector.get_engine_information(json)), self._name)

    def close(self) -> None:
        """Wait for the stream, then drop context, buffers and engine, and the profiler last."""
        super().close()
        del self._profiler

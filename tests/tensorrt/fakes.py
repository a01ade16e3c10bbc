# ruff: noqa: ARG002 - the fakes have the signatures of what they stand for
"""A module and a CUDA that only write down what is done with them: the run path without a GPU.

The fakes have no name that ``names.py`` does not list, so code that runs on them uses no other.
"""

import contextlib
import ctypes
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch

from compressor.tensorrt.cuda import Gpu

A10 = Gpu(name="NVIDIA A10", capability=(8, 6), driver="580.1")
CPU = torch.device("cpu")


@dataclass
class FakeStream:
    cuda_stream: int = 7
    log: list = field(default_factory=list)

    def wait_stream(self, stream):
        self.log.append("wait")

    def synchronize(self):
        self.log.append("synchronise")


@dataclass
class FakeGraph:
    work: object
    log: list

    def replay(self):
        self.log.append("replay")
        self.work()


@dataclass
class FakeCuda:
    """Streams and graphs that run at once; ``refusal`` is why a capture fails, if it does."""

    available: bool = True
    present: Gpu = A10
    refusal: str | None = None
    log: list = field(default_factory=list)

    def is_available(self):
        return self.available

    def gpu(self):
        return self.present

    def device(self):
        return CPU

    def new_stream(self):
        return FakeStream(log=self.log)

    def current_stream(self):
        return FakeStream()

    @contextlib.contextmanager
    def on(self, stream):
        self.log.append(f"on {stream.cuda_stream}")
        yield

    def new_event(self):
        return object()

    def pinned(self, like):
        self.log.append("pinned")
        return torch.empty_like(like)

    def uuid(self):
        return "GPU-1234"

    def capture(self, stream, work):
        if self.refusal is not None:
            raise RuntimeError(self.refusal)
        work()
        self.log.append("capture")
        return FakeGraph(work, self.log)


class Named(SimpleNamespace):
    """A member of an enum."""


BYTES = {"FLOAT": 4, "HALF": 2}
FLOAT, HALF, FP4 = Named(name="FLOAT"), Named(name="HALF"), Named(name="FP4")
INPUT, OUTPUT = Named(name="INPUT"), Named(name="OUTPUT")


class Context:
    """Takes the addresses of its tensors and computes nothing: its outputs are zeros."""

    def __init__(self, engine, log):
        self.engine, self.log, self.shape, self.tensors = engine, log, None, {}
        self.takes_addresses = True
        self.profiler, self.enqueue_emits_profile, self.times = None, True, [("layer", 0.25)]

    def set_input_shape(self, name, shape):
        self.shape = shape
        return self.engine.takes_shape

    def infer_shapes(self):
        return self.engine.missing

    def get_tensor_shape(self, name):
        return (self.shape[0], self.engine.output_width)

    def set_tensor_address(self, name, memory):
        self.tensors[name] = memory
        if name == "logits":
            # It computes nothing by itself, and memory that nobody wrote may hold anything.
            rows, columns = self.get_tensor_shape(name)
            ctypes.memset(memory, 0, rows * columns * BYTES[self.engine.kinds[name].name])
        self.log.append(f"address {name}")
        return self.takes_addresses

    def execute_async_v3(self, stream_handle):
        assert stream_handle == 7
        assert set(self.tensors) == {"images", "logits"}
        self.log.append("execute")
        return self.engine.runs.pop(0) if self.engine.runs else True

    def report_to_profiler(self):
        if self.profiler is None:
            return False
        for layer, ms in self.times:
            self.profiler.report_layer_time(layer, ms)
        return True


class Engine:
    """A plan with one input of shape (1 to 8, 3) and one output of shape (batch, 2)."""

    num_io_tensors = 2

    def __init__(self, log):
        self.log, self.takes_shape, self.missing, self.runs = log, True, [], []
        self.output_width = 2
        self.kinds = {"images": FLOAT, "logits": FLOAT}
        self.layers = '{"Layers": [], "Bindings": []}'
        self.shows_types = True
        self.context = Context(self, log)

    def get_tensor_name(self, index):
        return ("images", "logits")[index]

    def get_tensor_mode(self, name):
        return INPUT if name == "images" else OUTPUT

    def get_tensor_dtype(self, name):
        return self.kinds[name]

    def get_tensor_profile_shape(self, name, profile_index):
        return [(1, 3), (4, 3), (8, 3)]

    def create_execution_context(self):
        return self.context

    def create_engine_inspector(self):
        return Inspector(self)


class Inspector:
    """Shows types and sizes only with a context whose input has its sizes, as the engine does."""

    def __init__(self, engine):
        self.engine, self.execution_context = engine, None

    def get_engine_information(self, format):
        context = self.execution_context
        is_shaped = context is not None and context.shape is not None
        return self.engine.layers if is_shaped and self.engine.shows_types else self._untyped()

    def _untyped(self):
        """The layers as for free sizes."""
        shown = json.loads(self.engine.layers)
        for layer in (each for each in shown["Layers"] if isinstance(each, dict)):
            for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
                key = "Datatype" if "Datatype" in tensor else "Format/Datatype"
                tensor[key] = "N/A due to dynamic shapes"
        return json.dumps(shown)


class ILogger:
    def __init__(self):
        pass


class IProfiler:
    def __init__(self):
        pass


class Runtime:
    engine = None
    engine_host_code_allowed = False

    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        if Runtime.engine is None:
            self.logger.log(
                Named(name="ERROR"), "Error Code 1: Serialization (version tag differs)"
            )
        return Runtime.engine


def fake_module(engine):
    """The module ``tensorrt`` as far as running a plan needs it; every plan opens as ``engine``."""
    runtime = type("Runtime", (Runtime,), {})
    Runtime.engine = engine
    return SimpleNamespace(
        __version__="10.16.1.11",
        ILogger=ILogger,
        IProfiler=IProfiler,
        Runtime=runtime,
        TensorIOMode=SimpleNamespace(INPUT=INPUT, OUTPUT=OUTPUT),
        LayerInformationFormat=SimpleNamespace(JSON=Named(name="JSON")),
    )

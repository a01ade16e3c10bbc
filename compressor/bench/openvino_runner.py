"""OpenVINO as an engine: its CPU plugin, one stream, a stated precision."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from compressor.bench.onnxruntime_runner import check_shape
from compressor.bench.runner import import_engine
from compressor.errors import ModelError
from compressor.file_profile import check_profile, read_profile

Hint = Literal["f32", "bf16"]
"""In what the float32 part of a graph is computed. Left to itself, OpenVINO takes bf16 where the
processor has it, and is twice as fast as engines that compute what the file says."""


class OpenVinoRunner:
    """Runs an ONNX file with one input and one output, compiled anew for each shape of batch.

    Args:
        path: An ONNX file.
        num_threads: Threads of its one stream.
        precision: Of the float32 part; read back from what was compiled, and checked.

    Raises:
        ModelError: The file is not there, cannot be read, or was made for another engine.
        MissingExtra: OpenVINO is not installed.
    """

    engine = "openvino"

    def __init__(self, path: Path, num_threads: int, precision: Hint = "f32") -> None:
        self._openvino = import_engine("openvino", "openvino")
        if not path.is_file():
            raise ModelError(f"{path}: there is no such file. Export the network first.")
        check_profile(path, self.engine)
        self._path, self._num_threads, self._precision = path, num_threads, precision
        self._core = self._openvino.Core()
        self._sizes = self._read().input(0).partial_shape
        self._request: Any = None
        self._compiled_for: tuple[int, ...] | None = None
        self._batch: Any = None

    def prepare(self, batch: Tensor) -> None:
        """Fix the input of every following ``run``; shape ``(batch, *image_shape)``.

        Raises:
            ModelError: The file takes inputs of another shape, or OpenVINO cannot compile it in
                the precision and with the threads that were asked for.
        """
        shape = tuple(batch.shape)
        wanted = [None if size.is_dynamic else size.get_length() for size in self._sizes]
        check_shape(self._path, wanted, shape)
        if shape != self._compiled_for:
            self._request = self._compile(shape).create_infer_request()
            self._compiled_for = shape
        # OpenVINO reads this memory in each run, so it must live, and stay as it is, until then.
        self._batch = batch.detach().cpu().contiguous().clone().numpy()
        tensor = self._openvino.Tensor(self._batch, shared_memory=True)
        self._request.set_input_tensor(tensor)

    def run(self) -> Tensor:
        """Output for the prepared batch: the file's first."""
        assert self._request is not None, "prepare comes before run"
        self._request.infer()
        # The request writes the next output over this one.
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())

    def close(self) -> None:
        """Drop what was compiled, with its weights and threads."""
        self._request = self._compiled_for = self._batch = None

    def _read(self) -> Any:
        try:
            return self._core.read_model(self._path)
        except RuntimeError as error:
            raise ModelError(
                f"{self._path} cannot be opened: {_reason(error)}. Export the network again."
            ) from error

    def _compile(self, shape: tuple[int, ...]) -> Any:
        network = self._read()
        try:
            network.reshape(list(shape))
            compiled = self._core.compile_model(network, "CPU", self._options())
        except RuntimeError as error:
            raise ModelError(
                f"{self._path} cannot be compiled for inputs of {list(shape)}: {_reason(error)}. "
                "Export the network again."
            ) from error
        self._check(compiled)
        return compiled

    def _options(self) -> dict[str, Any]:
        """What makes runs comparable: one stream of fixed threads, and the precision said aloud."""
        return {
            "INFERENCE_NUM_THREADS": self._num_threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
        }

    def _check(self, compiled: Any) -> None:
        """Refuse what was compiled otherwise than asked: hints may be passed over in silence."""
        asked = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": str(self._num_threads),
            "NUM_STREAMS": "1",
        }
        for option, wanted in asked.items():
            got = property_text(compiled.get_property(option))
            if got != wanted:
                raise ModelError(
                    f"{self._path}: OpenVINO compiled with {option} = {got}, not {wanted}. "
                    "Ask for what this processor has."
                )


def hint_of(path: Path) -> Hint:
    """In what a file is to be computed: bf16 where its note says that it is, float32 elsewhere.

    OpenVINO may compute a bfloat16 graph in float32, where the processor has nothing else, and says
    nothing; asked for bf16 and read back, that is refused.

    Raises:
        MissingExtra: ONNX is not installed.
    """
    return "bf16" if path.is_file() and read_profile(path).name == "bf16" else "f32"


def computes_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    core = import_engine("openvino", "openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def property_text(value: Any) -> str:
    """A property as text; of an element type its name, as in the hint: its text is another."""
    return str(value.get_type_name() if hasattr(value, "get_type_name") else value)


def _reason(error: RuntimeError) -> str:
    """Last line of what OpenVINO says: the lines before name places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or ["no message"])[-1].rstrip(".")
